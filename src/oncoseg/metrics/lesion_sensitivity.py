"""Lesion-wise sensitivity: the part of the true lesions that was found, of a given size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, checked_iou, lesions
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Metrics reloaded: recommendations for image analysis validation",
    2024,
    doi="10.1038/s41592-023-02151-z",
    reading="Any overlap counts as found.",
)


class LesionSensitivity(Metric):
    """Found lesions / true lesions of at least `from_ml` and below `to_ml` (0: no bound).

    A lesion is found if a predicted voxel lies in it; with `iou` above 0, if a predicted lesion
    overlaps it by that intersection over union. A pixel of a 2-D image counts as 1 mm thick.
    """

    empty = "undefined if the truth is empty, or holds no lesion of the size"

    def __init__(
        self,
        *,
        connectivity: int = 26,
        from_ml: float = 0.0,
        to_ml: float = 0.0,
        iou: float = 0.0,
    ) -> None:
        if from_ml < 0 or to_ml < 0 or 0 < to_ml <= from_ml:
            raise BadOption(f"sizes of LesionSensitivity go up from 0, not {from_ml} to {to_ml} ml")
        self.connectivity, self.iou = checked(connectivity), checked_iou(iou)
        self.from_ml, self.to_ml = from_ml, to_ml or float("inf")

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1, or NaN if there was nothing to find."""
        found = lesions(pair(prediction, truth, spacing), self.connectivity)
        size = found.true * float(np.prod(spacing)) / 1000
        wanted = (size >= self.from_ml) & (size < self.to_ml)
        hit = np.isin(np.arange(len(found.true)), found.pairs[found.iou >= self.iou, 1])
        return float(hit[wanted].mean()) if wanted.any() else float("nan")

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """0, undefined where no lesion has the size."""
        return 0.0 * self(truth, truth, spacing)
