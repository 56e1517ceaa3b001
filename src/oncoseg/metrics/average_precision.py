"""Average precision of instances: hits among hits, misses and inventions, ever more strictly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, told_apart
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Nucleus Segmentation Across Imaging Experiments: The 2018 Data Science Bowl",
    2019,
    doi="10.1038/s41592-019-0612-7",
    reading="Of masks, instances are connected components. The challenge counts 0.5 to 0.95; an "
    "image without instances counts as 1 if none is predicted.",
)
THRESHOLDS = tuple(twentieth / 20 for twentieth in range(10, 20))
ROUNDING = 1e-9


class AveragePrecision(Metric):
    """mean over IoU thresholds t of TP / (TP + FP + FN); symmetric.

    Two instances match if their IoU is above t. Thresholds are 0.5, 0.55, ... 0.95, or `iou` alone
    if it is given (0.5 to below 1).
    """

    instances = True
    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26, iou: float = 0.0) -> None:
        if iou and not 0.5 <= iou < 1:
            raise BadOption(f"option 'iou' of AveragePrecision takes 0.5 to below 1, not {iou}")
        self.connectivity = checked(connectivity)
        self.thresholds = (iou,) if iou else THRESHOLDS

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks or instance maps (*S), spacing in mm -> 0 to 1."""
        found = told_apart(prediction, truth, spacing, self.connectivity)
        number = len(found.predicted) + len(found.true)
        if not number:
            return 1.0
        hits = [np.count_nonzero(found.iou > level + ROUNDING) for level in self.thresholds]
        return float(np.mean([hit / (number - hit) for hit in hits]))
