"""Panoptic quality: how many lesions were found, times how well those are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, told_apart
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Panoptic Segmentation",
    2019,
    arxiv="1801.00868",
    reading="Of masks, instances are connected components.",
)


class PanopticQuality(Metric):
    """sum of IoU of matched pairs / (TP + FP / 2 + FN / 2); symmetric.

    Two lesions match if their IoU is above `iou`, which is 0.5 at least, so that no lesion has two
    matches.
    """

    instances = True
    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26, iou: float = 0.5) -> None:
        if not 0.5 <= iou < 1:
            raise BadOption(f"option 'iou' of PanopticQuality takes 0.5 to below 1, not {iou}")
        self.connectivity, self.iou = checked(connectivity), iou

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks or instance maps (*S), spacing in mm -> 0 to 1."""
        found = told_apart(prediction, truth, spacing, self.connectivity)
        if not (len(found.predicted) and len(found.true)):
            return float(len(found.predicted) == len(found.true))
        matched = found.iou[found.iou > self.iou]
        return 2 * float(np.sum(matched)) / (len(found.predicted) + len(found.true))
