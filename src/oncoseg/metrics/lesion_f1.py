"""Lesion-wise F1: lesions found and lesions invented, each counted once whatever its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, checked_iou, lesions
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Standardized Assessment of Automatic Segmentation of White Matter Hyperintensities and "
    "Results of the WMH Segmentation Challenge",
    2019,
    doi="10.1109/TMI.2019.2905770",
    reading="Any overlap is a match by default, so one predicted lesion may match several true "
    "ones; voxels that touch by a corner are one lesion.",
)


class LesionF1(Metric):
    """2 s p / (s + p): s is the part of true lesions matched, p that of predicted ones; symmetric.

    Lesions are connected components: by faces (`connectivity` 6), edges too (18) or corners too
    (26). Two lesions match if
    they overlap at all, or with `iou` above 0 if their intersection over union is at least that.
    """

    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26, iou: float = 0.0) -> None:
        self.connectivity, self.iou = checked(connectivity), checked_iou(iou)

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        found = lesions(both, self.connectivity)
        matches = found.pairs[found.iou >= self.iou]
        precision = len(np.unique(matches[:, 0])) / len(found.predicted)
        sensitivity = len(np.unique(matches[:, 1])) / len(found.true)
        total = precision + sensitivity
        return 2 * precision * sensitivity / total if total else 0.0
