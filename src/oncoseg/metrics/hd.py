"""Hausdorff distance: how far the farthest point of one surface lies from the other."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Comparing Images Using the Hausdorff Distance",
    1993,
    doi="10.1109/34.232073",
    reading="Over surface voxels, from centre to centre.",
)


class Hd(Metric):
    """max(max d(p, T) over surface voxels p of P, max d(t, P)); symmetric.

    One stray voxel decides it: for most questions hd95 is the better one.
    """

    higher = False
    unit = "mm"
    worst = float("inf")
    distances = True
    empty = "0 mm if both are empty, the diagonal of the whole image if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> mm."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return 0.0 if all(both.empty) else both.diagonal
        return float(max(distance.max() for distance in both.distances))

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The diagonal of the image."""
        return pair(truth, truth, spacing).diagonal
