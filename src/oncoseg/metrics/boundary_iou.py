"""Boundary IoU: intersection over union of what lies near the edges of both masks."""

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
    "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
    2021,
    arxiv="2103.16562",
    reading="Distances are Euclidean, in mm, from the nearest voxel outside; in the paper a square "
    "erodes. Beyond the image is outside.",
)


class BoundaryIou(Metric):
    """|P_d and T_d| / |P_d or T_d|: P_d are the voxels of P within d of its edge; symmetric.

    d is `width_mm`, or 2 % of the image's diagonal where that is 0; at least the voxels of which a
    neighbour lies outside count.
    """

    distances = True
    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, width_mm: float = 0.0) -> None:
        if not (np.isfinite(width_mm) and width_mm >= 0):
            raise BadOption(f"option 'width_mm' of BoundaryIou takes mm from 0, not {width_mm}")
        self.width_mm = width_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        width = self.width_mm or 0.02 * both.diagonal
        edges = [_edge(mask, both.spacing, width) for mask in both.masks]
        union = np.count_nonzero(edges[0] | edges[1])
        return np.count_nonzero(edges[0] & edges[1]) / union


def _edge(mask: Array, spacing: tuple[float, ...], width: float) -> Array:
    """Voxels of a padded mask within `width` of what is outside, or beside it."""
    depth = ndimage.distance_transform_edt(mask, spacing)
    return mask & ((depth <= width) | ~ndimage.binary_erosion(mask))
