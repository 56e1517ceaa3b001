"""Volume difference: how many millilitres the predicted volume is off, too large or too small."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Metrics for evaluating 3D medical image segmentation: analysis, selection, and tool",
    2015,
    doi="10.1186/s12880-015-0068-x",
    reading="The absolute difference, in ml; a pixel of a 2-D image counts as 1 mm thick.",
)


class VolumeDifference(Metric):
    """| |P| - |T| | times the volume of a voxel; symmetric, blind to where the voxels lie."""

    higher = False
    unit = "ml"
    worst = float("inf")
    empty = "0 ml if both are empty, else the volume of the other"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> ml."""
        found = pair(prediction, truth, spacing).counts
        return abs(found.predicted - found.true) * found.voxel_ml

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """That of nothing or of the whole image, whichever is further off."""
        found = pair(truth, truth, spacing).counts
        return max(found.true, found.image - found.true) * found.voxel_ml
