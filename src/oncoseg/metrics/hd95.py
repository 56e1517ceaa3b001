"""Hausdorff distance, 95th percentile: how far surfaces lie apart, but for the worst twentieth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Comparing Images Using the Hausdorff Distance",
    1993,
    doi="10.1109/34.232073",
    reading="The larger of both directions' 95th percentiles (not of their union), over surface "
    "voxels: those of which a face touches a voxel outside; from centre to centre.",
)


class Hd95(Metric):
    """max(P95 of d(p, T) over surface voxels p of P, P95 of d(t, P)); symmetric.

    Percentiles are interpolated linearly. A missed or invented region costs the image's diagonal,
    so that it never makes a mean better.
    """

    higher = False
    unit = "mm"
    worst = float("inf")
    distances = True
    empty = "0 mm if both are empty, the diagonal of the whole image if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> mm."""
        both = pair(prediction, truth, spacing)
        if all(both.empty):
            return 0.0
        if any(both.empty):
            return both.diagonal
        return float(max(np.percentile(distance, 95) for distance in both.distances))

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The diagonal of the image."""
        return pair(truth, truth, spacing).diagonal
