"""How likely the true labels are under logits divided by a temperature."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from oncoseg.blocks.logits import logits_of
from oncoseg.case import Array, Prediction


def likelihoods(
    prediction: Prediction, truth: Array, temperatures: Sequence[float] | Array, voxels: int
) -> list[float]:
    """Mean negative log-likelihood of the true labels (*S) at each temperature.

    Of so many voxels, drawn always the same, or of all if they are few.
    """
    logits, target = _drawn(prediction, truth, voxels)
    return [nll(logits / t, target, exclusive=prediction.task.exclusive) for t in temperatures]


def nll(logits: Array, target: Array, *, exclusive: bool) -> float:
    """Mean negative log-likelihood of membership `target` under logits, both (outputs, voxels)."""
    if exclusive:
        total = np.logaddexp.reduce(logits, axis=0) - (logits * target).sum(axis=0)
    else:
        total = (np.logaddexp(0, logits) - logits * target).sum(axis=0)
    return float(total.mean(dtype=np.float64))


def _drawn(prediction: Prediction, truth: Array, count: int) -> tuple[Array, Array]:
    """Logits and true membership (outputs, voxels) of some voxels, or of all if they are few."""
    places = np.arange(truth.size)
    if truth.size > count:
        seed = crc32(prediction.case.encode())  # the same of a case, other places in each
        places = np.random.default_rng(seed).integers(truth.size, size=count)
    flat = prediction.probability.reshape(len(prediction.probability), -1)[:, places]
    return logits_of(prediction.task, flat), prediction.task.membership[:, truth.ravel()[places]]
