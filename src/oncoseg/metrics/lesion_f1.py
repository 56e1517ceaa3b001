"""Lesion-wise F1: lesions found and lesions invented, each counted once whatever its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.errors import BadOption
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
REACH = {6: 1, 18: 2, 26: 3}


class LesionF1(Metric):
    """2 s p / (s + p): s is the part of true lesions matched, p that of predicted ones; symmetric.

    Lesions are connected components: by faces (`connectivity` 6), edges too (18) or corners too
    (26); in 2-D 6 means edges (4 neighbours), the others corners too (8). Two lesions match if
    they overlap at all, or with `iou` above 0 if their intersection over union is at least that.
    """

    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26, iou: float = 0.0) -> None:
        if connectivity not in REACH:
            raise BadOption(f"option 'connectivity' takes 6, 18 or 26, not {connectivity}")
        if not 0 <= iou <= 1:
            raise BadOption(f"option 'iou' of LesionF1 takes 0 to 1, not {iou}")
        self.connectivity, self.iou = connectivity, iou

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        reach = min(REACH[self.connectivity], truth.ndim)
        structure = ndimage.generate_binary_structure(truth.ndim, reach)
        (predicted, found), (true, count) = (
            ndimage.label(mask, structure=structure) for mask in both.masks
        )
        shared = (predicted > 0) & (true > 0)
        matches, overlap = np.unique(
            np.stack([predicted[shared], true[shared]]), axis=1, return_counts=True
        )
        sizes = np.bincount(predicted.ravel())[matches[0]] + np.bincount(true.ravel())[matches[1]]
        matches = matches[:, overlap >= self.iou * (sizes - overlap)]
        precision = len(np.unique(matches[0])) / found
        sensitivity = len(np.unique(matches[1])) / count
        total = precision + sensitivity
        return 2 * precision * sensitivity / total if total else 0.0
