"""False positives: how many lesions were invented in a case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, checked_iou, lesions
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Metrics reloaded: recommendations for image analysis validation",
    2024,
    doi="10.1038/s41592-023-02151-z",
    reading="Any overlap with the truth makes a predicted lesion true.",
)


class FalsePositives(Metric):
    """Predicted lesions in which no voxel is true; their mean over cases is that of FROC.

    With `iou` above 0 those that overlap no true one by that intersection over union. Best for who
    predicts nothing: never alone.
    """

    higher = False
    worst = float("inf")
    one_sided = True
    empty = "0 if the prediction is empty"

    def __init__(self, *, connectivity: int = 26, iou: float = 0.0) -> None:
        self.connectivity, self.iou = checked(connectivity), checked_iou(iou)

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> a count."""
        found = lesions(pair(prediction, truth, spacing), self.connectivity)
        return float(len(found.predicted) - len(np.unique(found.pairs[found.iou >= self.iou, 0])))
