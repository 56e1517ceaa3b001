"""Precision: the part of the predicted voxels that is true."""

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
    reading="Undefined there if nothing is predicted; 0 here if there was something to find.",
)


class Precision(Metric):
    """|P and T| / |P|, counted in voxels.

    An empty prediction counts as 0 where there was something to find: were it undefined, and so
    left out of a mean, missing tumours would raise the mean.
    """

    empty = "1 if both are empty, 0 if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        found = pair(prediction, truth, spacing).counts
        if not found.predicted:
            return 0.0 if found.true else 1.0
        return found.both / found.predicted
