"""Average symmetric surface distance: how far both surfaces lie apart on the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Comparison and Evaluation of Methods for Liver Segmentation From CT Datasets",
    2009,
    doi="10.1109/TMI.2009.2013851",
    reading="All distances of both surfaces count alike (`pooled`), over surface voxels; with "
    "`mesh` over elements of the surface, weighted by area, as in surface-distance.",
)


class Assd(Metric):
    """(sum of d(p, T) over surface points p of P + sum of d(t, P)) / (|S_P| + |S_T|); symmetric.

    Without `pooled` it is the mean of both directions' means. With `mesh` surfaces are the elements
    of marching cubes, else voxels of which a face touches a voxel outside. A missed or invented
    region costs the image's diagonal.
    """

    higher = False
    unit = "mm"
    worst = float("inf")
    distances = True
    empty = "0 mm if both are empty, the diagonal of the whole image if one is"

    def __init__(self, *, pooled: bool = True, mesh: bool = False) -> None:
        self.pooled, self.mesh = pooled, mesh

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> mm."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return 0.0 if all(both.empty) else both.diagonal
        ways = both.ways(mesh=self.mesh)
        if not self.pooled:
            return float(np.mean([np.average(apart, weights=size) for apart, size in ways]))
        total = sum(float(apart @ size) for apart, size in ways)
        return total / sum(float(size.sum()) for _, size in ways)

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The diagonal of the image."""
        return pair(truth, truth, spacing).diagonal
