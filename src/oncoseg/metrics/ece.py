"""Expected calibration error: how far probabilities are, on average, from what comes true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from oncoseg.blocks.calibration import binned, checked, confidence, gaps, levelled, observed
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "On Calibration of Modern Neural Networks",
    2017,
    arxiv="1706.04599",
    reading="Voxels near truth and prediction, since far background swamps all else, as Mehrtash "
    "2020 (arXiv 1911.13273) measures around the structure; the margin is ours. "
    "`adaptive` is Nixon 2019 (arXiv 1904.01685), `classwise` Kull 2019 (arXiv 1910.12656).",
)


class Ece(Metric):
    """sum over bins of n_b / N |came true - claimed|, of the more probable answer in each voxel.

    With `classwise` of the region's probability alone; with `adaptive` bins hold as many voxels
    each (ACE). Voxels: see `margin_mm`, that around the box of truth and prediction; inf for all,
    where easy background hides errors.
    """

    higher = False
    worst = 1.0
    distances = True  # the margin lies along axes
    needs: ClassVar[tuple[str, ...]] = ("probability",)
    empty = "over all voxels if truth and prediction are empty; undefined if no voxel counts"

    def __init__(
        self,
        *,
        bins: int = 15,
        adaptive: bool = False,
        classwise: bool = False,
        margin_mm: float = 10.0,
    ) -> None:
        checked(margin_mm, bins)
        self.bins, self.adaptive, self.classwise = bins, adaptive, classwise
        self.margin_mm = margin_mm

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Probability (*S) float, boolean mask (*S), spacing in mm -> 0 to 1."""
        seen = observed(prediction, truth, spacing, self.margin_mm)
        claimed, right = confidence(*seen, classwise=self.classwise)
        if not len(claimed):
            return float("nan")
        table = (levelled if self.adaptive else binned)(claimed, right, self.bins)
        filled = table[table[:, 0] > 0]
        return float(np.sum(filled[:, 0] * gaps(filled)) / len(claimed))
