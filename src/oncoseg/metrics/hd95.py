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
    reading="The larger of both directions' 95th percentiles, over surface voxels: those of which "
    "a face touches a voxel outside; from centre to centre. `pooled` and `mesh` are the other "
    "definitions in use.",
)


class Hd95(Metric):
    """max(P95 of d(p, T) over surface voxels p of P, P95 of d(t, P)); symmetric.

    Percentiles are interpolated linearly. With `pooled` it is the percentile of all distances of
    both directions, as in MedPy and panoptica; with `mesh` surfaces are elements of marching cubes,
    weighted by area, as in surface-distance. A missed or invented region costs the image's
    diagonal, so that it never makes a mean better.
    """

    higher = False
    unit = "mm"
    worst = float("inf")
    distances = True
    empty = "0 mm if both are empty, the diagonal of the whole image if one is"

    def __init__(self, *, pooled: bool = False, mesh: bool = False) -> None:
        self.pooled, self.mesh = pooled, mesh

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> mm."""
        both = pair(prediction, truth, spacing)
        if all(both.empty):
            return 0.0
        if any(both.empty):
            return both.diagonal
        ways = both.ways(mesh=self.mesh)
        if self.pooled:
            (there, one), (back, other) = ways
            ways = [(np.concatenate([there, back]), np.concatenate([one, other]))]
        return max(self._percentile(apart, size) for apart, size in ways)

    def _percentile(self, apart: Array, size: Array) -> float:
        if not self.mesh:
            return float(np.percentile(apart, 95))
        order = np.argsort(apart)
        reached = np.cumsum(size[order]) / size.sum()
        last = min(int(np.searchsorted(reached, 0.95)), len(order) - 1)
        return float(apart[order[last]])

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The diagonal of the image."""
        return pair(truth, truth, spacing).diagonal
