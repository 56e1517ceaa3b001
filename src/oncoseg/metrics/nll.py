"""Negative log-likelihood: how surprising the truth is to the probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from oncoseg.blocks.calibration import checked, observed
from oncoseg.case import Array
from oncoseg.errors import BadOption
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "Rational Decisions",
    1952,
    doi="10.1111/j.2517-6161.1952.tb00104.x",
    reading="No probability counts as less than `floor`, about half of the step in which maps are "
    "stored: one voxel that is certain and wrong would cost infinity. Voxels as in `ece`.",
)


class Nll(Metric):
    """mean of -log max(q, floor) in nats over the voxels that count (see `ece`).

    q is the probability of what is true. By default no voxel costs more than 6.21.
    """

    higher = False
    unit = "nats"
    worst = float("inf")
    distances = True  # the margin lies along axes
    needs: ClassVar[tuple[str, ...]] = ("probability",)
    empty = "over all voxels if truth and prediction are empty; undefined if no voxel counts"

    def __init__(self, *, floor: float = 0.002, margin_mm: float = 10.0) -> None:
        checked(margin_mm)
        if not 0 < floor < 0.5:
            raise BadOption(f"option 'floor' of Nll takes more than 0 and below 0.5, not {floor}")
        self.floor, self.margin_mm = floor, margin_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Probability (*S) float, boolean mask (*S), spacing in mm -> nats."""
        probability, true = observed(prediction, truth, spacing, self.margin_mm)
        held = np.where(true, probability, 1 - probability)
        return float(-np.log(np.maximum(held, self.floor)).mean()) if len(true) else float("nan")

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """That of a voxel that is certain and wrong."""
        return -math.log(self.floor)
