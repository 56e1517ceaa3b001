"""Does doubt find errors: the chance that a wrong voxel is less sure than a right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oncoseg.blocks.calibration import auroc, checked, confidence, observed
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
    2017,
    arxiv="1610.02136",
    reading="Voxels as in `ece`. Entropy, margin and highest probability of one region rank its "
    "voxels alike.",
)


class ErrorAuroc(Metric):
    """Area under the ROC curve of finding wrong voxels by how near p is to 1/2; 0.5 is by chance.

    Voxels: see `margin_mm`, that around the box of truth and prediction; the wider, the easier.
    """

    worst = 0.0
    distances = True  # the margin lies along axes
    needs: ClassVar[tuple[str, ...]] = ("probability",)
    empty = "1 if every voxel that counts is right, 0 if all are wrong; undefined if none counts"

    def __init__(self, *, margin_mm: float = 10.0) -> None:
        checked(margin_mm)
        self.margin_mm = margin_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Probability (*S) float, boolean mask (*S), spacing in mm -> 0 to 1."""
        seen = observed(prediction, truth, spacing, self.margin_mm)
        return auroc(*confidence(*seen, classwise=False))
