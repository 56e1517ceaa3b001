"""Relative volume difference: how far the predicted volume is off, in percent of the true one."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Comparison and Evaluation of Methods for Liver Segmentation From CT Datasets",
    2009,
    doi="10.1109/TMI.2009.2013851",
    reading="The absolute value, so that too much in one case does not make up for too little "
    "in another.",
)


class RelativeVolumeDifference(Metric):
    """100 | |P| - |T| | / |T|; blind to where the voxels lie."""

    higher = False
    unit = "%"
    worst = float("inf")
    empty = "undefined if the truth is empty, whatever was predicted; 100 % if the prediction is"

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> percent, or NaN if the true volume is zero."""
        found = pair(prediction, truth, spacing).counts
        if not found.true:
            return float("nan")
        return 100 * abs(found.predicted - found.true) / found.true

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """That of nothing or of the whole image; undefined for an empty truth."""
        found = pair(truth, truth, spacing).counts
        if not found.true:
            return float("nan")
        return 100 * max(found.true, found.image - found.true) / found.true
