"""Sensitivity, or recall: the part of the true voxels that was found."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Metrics reloaded: recommendations for image analysis validation",
    2024,
    doi="10.1038/s41592-023-02151-z",
)


class Sensitivity(Metric):
    """|P and T| / |T|, counted in voxels."""

    empty = "undefined if the truth is empty, whatever was predicted; 0 if the prediction alone is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1, or NaN if there was nothing to find."""
        found = pair(prediction, truth, spacing).counts
        return found.both / found.true if found.true else float("nan")

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """Undefined for an empty truth."""
        return self.worst if truth.any() else float("nan")
