"""Normalised surface Dice: the part of both surfaces that lies within a tolerance of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.surface import SLACK_MM, pair
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Deep learning to achieve clinically applicable segmentation of head and neck anatomy "
    "for radiotherapy",
    2018,
    arxiv="1809.04430",
    reading="Surfaces are weighted by area (in 2-D by length): elements between voxel centres, "
    "cut by marching cubes, each at the centre of its 2x2x2 cell; `mesh=false` counts surface "
    "voxels instead, as other packages do.",
)


class Nsd(Metric):
    """(|S_P near S_T| + |S_T near S_P|) / (|S_P| + |S_T|), areas of surfaces S; symmetric.

    Near is no farther than `tolerance_mm`: take what two raters differ by. Without `mesh` surface
    voxels are counted, of which a face touches a voxel outside.
    """

    distances = True
    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, tolerance_mm: float = 1.0, mesh: bool = True) -> None:
        if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
            raise BadOption(f"option 'tolerance_mm' of Nsd takes mm from 0 up, not {tolerance_mm}")
        self.tolerance_mm, self.mesh = tolerance_mm, mesh

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        if self.mesh:
            within, total = both.agreement(self.tolerance_mm)
            return within / total
        apart = np.concatenate(both.distances)
        return float((apart <= self.tolerance_mm + SLACK_MM).mean())
