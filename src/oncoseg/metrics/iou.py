"""Intersection over union, the Jaccard index: the overlap over all that either mask holds."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "The Distribution of the Flora in the Alpine Zone",
    1912,
    doi="10.1111/j.1469-8137.1912.tb05611.x",
)


class Iou(Metric):
    """|P and T| / |P or T|, counted in voxels; symmetric."""

    empty = "1 if both are empty, 0 if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        found = pair(prediction, truth, spacing).counts
        union = found.predicted + found.true - found.both
        return found.both / union if union else 1.0
