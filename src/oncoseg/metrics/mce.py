"""Maximum calibration error: the bin in which claimed probabilities are farthest from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oncoseg.blocks.calibration import binned, checked, confidence, gaps, observed
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    2015,
    url="https://ojs.aaai.org/index.php/AAAI/article/view/9602",
    reading="Voxels as in `ece`. A bin counts whatever few voxels it holds.",
)


class Mce(Metric):
    """max over bins of |came true - claimed|, of the more probable answer in each voxel.

    Bins, `classwise` and voxels are those of `ece`.
    """

    higher = False
    worst = 1.0
    distances = True  # the margin lies along axes
    needs: ClassVar[tuple[str, ...]] = ("probability",)
    empty = "over all voxels if truth and prediction are empty; undefined if no voxel counts"

    def __init__(self, *, bins: int = 15, classwise: bool = False, margin_mm: float = 10.0) -> None:
        checked(margin_mm, bins)
        self.bins, self.classwise, self.margin_mm = bins, classwise, margin_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Probability (*S) float, boolean mask (*S), spacing in mm -> 0 to 1."""
        seen = observed(prediction, truth, spacing, self.margin_mm)
        claimed, right = confidence(*seen, classwise=self.classwise)
        apart = gaps(binned(claimed, right, self.bins))
        return float(apart.max()) if len(apart) else float("nan")
