"""Temperature scaling: one number that makes probabilities as sure as they are right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from oncoseg.blocks.logits import logits_of
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadData
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "On Calibration of Modern Neural Networks",
    2017,
    arxiv="1706.04599",
    reading="Logits are taken back from float16 probabilities, so they end near 9 (-17 below); "
    "regions share one temperature.",
)
COLDEST, HOTTEST = 0.2, 20.0


class Temperature(Posthoc):
    """Logits are divided by T > 0, which minimises the NLL of the true labels.

    That changes neither which class is the largest nor the sign of any sum of logits, so the label
    map stays as it is. `voxels` are drawn for the fit, evenly from all cases, always the same.
    """

    needs = ("logits",)

    def __init__(self, *, voxels: int = 200_000) -> None:
        super().__init__()
        self.voxels = voxels

    def fit(self, predictions: Sequence[Prediction], truths: Sequence[Array]) -> None:
        """`state` gets the temperature, and the NLL a voxel before and after."""
        if not predictions:
            raise BadData("a temperature is learned from held-out cases, but there are none")
        share = max(1, self.voxels // len(predictions))
        drawn = [_drawn(*pair, share, seed) for seed, pair in enumerate(zip(predictions, truths))]
        logits, target = (np.concatenate(column, axis=1) for column in zip(*drawn))
        exclusive = predictions[0].task.exclusive

        def loss(power: float) -> float:
            return nll(logits * math.exp(-power), target, exclusive=exclusive)

        bounds = (math.log(COLDEST), math.log(HOTTEST))  # one minimum: the NLL is convex in 1/T
        power = float(minimize_scalar(loss, bounds=bounds, method="bounded").x)
        self.state = {
            "temperature": round(math.exp(power), 4),
            "nll": [round(loss(0.0), 6), round(loss(power), 6)],
            "cases": len(predictions),
        }

    def logits(self, logits: Array) -> Array:
        """Logits, divided by the temperature, if one was learned."""
        return logits / np.float32(self.state.get("temperature", 1.0))

    def __call__(self, prediction: Prediction) -> Prediction:
        """The same labels, with calibrated probabilities; unchanged if nothing was learned."""
        temperature = float(self.state.get("temperature", 1.0))
        if temperature == 1:
            return prediction
        scaled = logits_of(prediction.task, prediction.probability) / temperature
        return prediction.but(probability=prediction.task.probabilities(scaled).astype(np.float16))


def nll(logits: Array, target: Array, *, exclusive: bool) -> float:
    """Mean negative log-likelihood of membership `target` under logits, both (outputs, voxels)."""
    if exclusive:
        total = np.logaddexp.reduce(logits, axis=0) - (logits * target).sum(axis=0)
    else:
        total = (np.logaddexp(0, logits) - logits * target).sum(axis=0)
    return float(total.mean(dtype=np.float64))


def _drawn(prediction: Prediction, truth: Array, count: int, seed: int) -> tuple[Array, Array]:
    """Logits and true membership (outputs, voxels) of some voxels, or of all if they are few."""
    places = np.arange(truth.size)
    if truth.size > count:
        places = np.random.default_rng(seed).integers(truth.size, size=count)
    flat = prediction.probability.reshape(len(prediction.probability), -1)[:, places]
    return logits_of(prediction.task, flat), prediction.task.membership[:, truth.ravel()[places]]
