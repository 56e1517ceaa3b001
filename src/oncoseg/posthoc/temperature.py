"""Temperature scaling: one number that makes probabilities as sure as they are right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from oncoseg.blocks.likelihood import likelihoods
from oncoseg.blocks.logits import logits_of
from oncoseg.case import Array, Prediction
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "On Calibration of Modern Neural Networks",
    2017,
    arxiv="1706.04599",
    reading="Logits are taken back from float16 probabilities, so they end near 9 (-17 below); "
    "regions share one temperature.",
)
TRIED = np.exp2(np.arange(-14, 27) / 6)  # 0.2 to 20, an eighth apart, and 1 among them


class Temperature(Posthoc):
    """Logits are divided by T > 0, which minimises the NLL of the true labels.

    That changes neither which class is the largest nor the sign of any sum of logits, so the label
    map stays as it is. Each case teaches its NLL at temperatures from 0.2 to 20, of `voxels` drawn
    from it, always the same; between those a spline has the mean over the cases.
    """

    needs = ("logits",)
    changes = ("probability",)

    def __init__(self, *, voxels: int = 20_000) -> None:
        super().__init__()
        self.voxels = voxels

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """The NLL a voxel at each of the temperatures `TRIED`."""
        return {"nll": likelihoods(prediction, truth, TRIED, self.voxels)}

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:
        """`state` gets the temperature, and the NLL a voxel before and after."""
        powers = np.log(TRIED)
        loss = CubicSpline(powers, np.mean([one["nll"] for one in lessons], axis=0))
        bounds = (powers[0], powers[-1])  # one minimum: the NLL is convex in 1/T
        power = float(minimize_scalar(loss, bounds=bounds, method="bounded").x)
        self.state = {
            "temperature": round(math.exp(power), 4),
            "nll": [round(float(loss(at)), 6) for at in (0.0, power)],
            "cases": len(lessons),
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
