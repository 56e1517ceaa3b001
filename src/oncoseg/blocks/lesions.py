"""Lesions of two masks: connected components, and which overlap by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from oncoseg.blocks.overlap import check
from oncoseg.blocks.surface import Pair, pair
from oncoseg.case import Array
from oncoseg.errors import BadData, BadOption

REACH = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True)
class Lesions:
    """Sizes in voxels of predicted (P,) and true (T,) lesions, and every pair that overlaps.

    `pairs` (N, 2) holds indices into both, `overlap` (N,) the voxels that they share.
    """

    predicted: Array
    true: Array
    pairs: Array
    overlap: Array

    @property
    def iou(self) -> Array:
        """Intersection over union of each pair (N,)."""
        union = self.predicted[self.pairs[:, 0]] + self.true[self.pairs[:, 1]] - self.overlap
        return self.overlap / union


def checked(connectivity: int) -> int:
    """`connectivity` if lesions can be told by it: raises `BadOption`."""
    if connectivity not in REACH:
        raise BadOption(f"option 'connectivity' takes 6, 18 or 26, not {connectivity}")
    return connectivity


def checked_iou(iou: float) -> float:
    """An intersection over union that a match can ask for: raises `BadOption`."""
    if not 0 <= iou <= 1:
        raise BadOption(f"option 'iou' takes 0 to 1, not {iou}")
    return iou


def components(mask: Array, connectivity: int) -> tuple[Array, int]:
    """A mask (*S) -> components numbered from 1 (*S), and how many.

    By faces (`connectivity` 6), edges too (18) or corners too (26); in 2-D 6 means edges (4
    neighbours), the others corners too (8).
    """
    reach = min(REACH[connectivity], mask.ndim)
    labelled, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, reach))
    return labelled, int(count)


def lesions(both: Pair, connectivity: int) -> Lesions:
    """The lesions of a prediction and of its truth."""
    (predicted, found), (true, count) = (components(mask, connectivity) for mask in both.masks)
    return paired(predicted, found, true, count)


def told_apart(
    prediction: Array, truth: Array, spacing: Sequence[float], connectivity: int
) -> Lesions:
    """Lesions of two boolean masks, or of two instance maps, in which each value but 0 is one.

    Raises `BadData` for anything else, and for values below 0.
    """
    if not (prediction.dtype.kind in "iu" and truth.dtype.kind in "iu"):
        return lesions(pair(prediction, truth, spacing), connectivity)
    check(prediction != 0, truth != 0, spacing)
    sides = []
    for instances in (prediction, truth):
        values, numbered = np.unique(instances, return_inverse=True)
        if values.size and values[0] < 0:
            raise BadData(f"an instance map holds {values[0]}; number instances from 1")
        without = int(not (values.size and values[0] == 0))  # a map may hold no background
        numbered = numbered.reshape(instances.shape) + without
        sides.append((numbered, len(values) - 1 + without))
    (predicted, found), (true, count) = sides
    return paired(predicted, found, true, count)


def paired(predicted: Array, found: int, true: Array, count: int) -> Lesions:
    """Sizes and overlaps of numbered lesions, `found` predicted and `count` true ones."""
    shared = (predicted > 0) & (true > 0)
    pairs, overlap = np.unique(
        np.stack([predicted[shared], true[shared]], axis=1), axis=0, return_counts=True
    )
    return Lesions(
        np.bincount(predicted.ravel(), minlength=found + 1)[1:],
        np.bincount(true.ravel(), minlength=count + 1)[1:],
        pairs.reshape(-1, 2).astype(np.int64) - 1,
        overlap,
    )
