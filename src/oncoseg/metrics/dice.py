"""Dice coefficient: twice the overlap over the sum of both masks."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Measures of the Amount of Ecologic Association Between Species", 1945, doi="10.2307/1932409"
)


class Dice(Metric):
    """2 |P and T| / (|P| + |T|), counted in voxels; symmetric."""

    empty = "1 if both are empty, 0 if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        found = pair(prediction, truth, spacing).counts
        total = found.predicted + found.true
        return 2 * found.both / total if total else 1.0
