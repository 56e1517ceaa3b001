"""Centreline Dice: how far each skeleton lies in the other mask, for vessels and other tubes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.skeleton import skeleton
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "clDice - a Novel Topology-Preserving Loss Function for Tubular Structure Segmentation",
    2021,
    arxiv="2003.07311",
    reading="Skeletons are of voxels, whatever the spacing. They come from this package's own "
    "thinning, which always keeps components, holes and cavities; scikit-image's, which the "
    "authors use, may lose some in 3-D, and otherwise differs by few voxels. The middle of an even "
    "width is one of two, so the score of masks a voxel apart depends on which.",
)


class ClDice(Metric):
    """2 T_P T_S / (T_P + T_S), T_P = |S_P and V_L| / |S_P|, T_S = |S_L and V_P| / |S_L|; symmetric.

    V are the masks and S their skeletons, P the prediction and L the truth.
    """

    empty = "1 if both are empty, 0 if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        predicted, true = both.masks
        precision, sensitivity = _inside(predicted, true), _inside(true, predicted)
        total = precision + sensitivity
        return 2 * precision * sensitivity / total if total else 0.0


def _inside(mask: Array, other: Array) -> float:
    """The part of a mask's skeleton that lies in the other mask."""
    middle = skeleton(mask)
    return float(np.count_nonzero(middle & other) / np.count_nonzero(middle))
