"""BraTS lesion-wise Dice: the mean over true lesions and over those that were invented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesionwise import Rule, compared
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "BraTS 2023 Lesion-Wise Performance Metrics for Segmentation Challenges",
    2023,
    url="https://github.com/rachitsaluja/BraTS-2023-Metrics",
    reading="In 2-D lesions grow by edges alone. The organisers' code of 2024 first drops small "
    "predicted lesions in some of its tasks; that is not done here.",
)


class BratsDice(Metric):
    """sum of Dice over true lesions / (true lesions + predicted lesions near none of them).

    True lesions grow by `dilation` voxels: those that then touch are one, and predicted lesions
    that touch one belong to it. True lesions of up to `volume_mm3` are not asked for. Defaults are
    those of adult glioma; metastases take dilation 1 and 2 mm³, meningioma dilation 1.
    """

    empty = (
        "1 if no true lesion is above the volume that counts and none is invented; 0 for a missed "
        "lesion and for an invented one, of any size"
    )

    def __init__(self, *, dilation: int = 3, volume_mm3: float = 50.0) -> None:
        self.rule = Rule(dilation, volume_mm3)

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        found = compared(pair(prediction, truth, spacing), self.rule)
        values = [self._dice(*masks) for masks in found.asked]
        number = len(values) + found.invented
        return float(sum(values)) / number if number else 1.0

    @staticmethod
    def _dice(prediction: Array, truth: Array) -> float:
        both = np.count_nonzero(prediction & truth)
        return 2 * both / (np.count_nonzero(prediction) + np.count_nonzero(truth))
