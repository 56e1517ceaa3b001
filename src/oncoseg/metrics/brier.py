"""Brier score: the mean squared distance of probabilities from what came true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from oncoseg.blocks.calibration import checked, observed
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Verification of Forecasts Expressed in Terms of Probability",
    1950,
    doi="10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    reading="Of the region alone, which is half of the sum over both answers that the paper has. "
    "Voxels as in `ece`.",
)


class Brier(Metric):
    """mean of (p - t)^2 over the voxels that count (see `ece`); t is 1 in the truth, else 0."""

    higher = False
    worst = 1.0
    distances = True  # the margin lies along axes
    needs: ClassVar[tuple[str, ...]] = ("probability",)
    empty = "over all voxels if truth and prediction are empty; undefined if no voxel counts"

    def __init__(self, *, margin_mm: float = 10.0) -> None:
        checked(margin_mm)
        self.margin_mm = margin_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Probability (*S) float, boolean mask (*S), spacing in mm -> 0 to 1."""
        probability, true = observed(prediction, truth, spacing, self.margin_mm)
        return float(np.mean((probability - true) ** 2)) if len(true) else float("nan")
