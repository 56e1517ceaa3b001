"""Matthews correlation coefficient: all four cells of the confusion table in one number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
    1975,
    doi="10.1016/0005-2795(75)90109-9",
    reading="Where a mask is empty or fills the image, 1 if the other is alike and else 0.",
)


class Mcc(Metric):
    """(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)); symmetric."""

    worst = -1.0
    empty = "1 if both are empty, 0 if one is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> -1 to 1."""
        found = pair(prediction, truth, spacing).counts
        predicted, true, size = found.predicted, found.true, found.image
        spread = predicted * true * (size - predicted) * (size - true)
        if not spread:
            return float(predicted == true == found.both)
        return (found.both * size - predicted * true) / math.sqrt(spread)

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """-1, the value of the complement; 0 where the truth is empty or fills the image."""
        found = pair(truth, truth, spacing).counts
        return self.worst if 0 < found.true < found.image else 0.0
