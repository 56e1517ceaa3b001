"""BraTS lesion-wise HD95: mean over true lesions, a penalty for missed and invented ones."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.lesionwise import Rule, compared
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card, build

CARD = Card(
    "BraTS 2023 Lesion-Wise Performance Metrics for Segmentation Challenges",
    2023,
    url="https://github.com/rachitsaluja/BraTS-2023-Metrics",
    reading="In 2-D lesions grow by edges alone. A case without a prediction counts as the "
    "penalty, or the diagonal of the image where that is longer. The organisers' code of 2024 "
    "has 337 mm for invented lesions of glioma.",
)


class BratsHd95(Metric):
    """(sum of HD95 over true lesions found + penalty x (missed + invented)) / their number.

    Lesions are those of `brats_dice`; the distance is `hd95:mesh=true`, that of the organisers'
    code. `penalty_mm` is about the diagonal of their images of 240 x 240 x 155 mm.
    """

    higher = False
    unit = "mm"
    worst = float("inf")
    distances = True
    empty = (
        "0 mm if no true lesion is above the volume that counts and none is invented; the penalty "
        "(374 mm) for a missed lesion and for an invented one, of any size"
    )

    def __init__(
        self, *, dilation: int = 3, volume_mm3: float = 50.0, penalty_mm: float = 374.0
    ) -> None:
        if not 0 <= penalty_mm < float("inf"):
            raise BadOption(f"option 'penalty_mm' of BratsHd95 takes 0 or more, not {penalty_mm}")
        self.rule, self.penalty_mm = Rule(dilation, volume_mm3), penalty_mm
        self.distance = build("metrics", "hd95:mesh=true")

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> mm."""
        found = compared(pair(prediction, truth, spacing), self.rule)
        values = [self.penalty_mm] * found.invented
        for predicted, true in found.asked:
            missed = not predicted.any()
            values.append(self.penalty_mm if missed else self.distance(predicted, true, spacing))
        return float(sum(values)) / len(values) if values else 0.0

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The penalty, or the diagonal of the image where that is longer."""
        return max(self.penalty_mm, pair(truth, truth, spacing).diagonal)
