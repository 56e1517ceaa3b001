"""The Dice that a segmentation will turn out to have, within bounds learned from held-out cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.blocks.held_out import bound, least, made, unlike
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "Conformal Performance Range Prediction for Segmentation Output Quality Control",
    2024,
    arxiv="2407.13307",
    reading="There sampled segmentations predict the Dice; here the probabilities do. The score, "
    "log((1 - Dice + c) / (1 - expected Dice + c)), is ours.",
)


class PredictedDice(Posthoc):
    """1 - Dice is (1 - E + c) exp(s) - c: E the expected Dice, s the median of held-out scores.

    Half of 1 - `level` of new cases may lie beyond either bound of s, which are order statistics of
    the held-out scores; so the true Dice is inside in at least `level` of the cases, if a new case
    and the n held-out ones could as well have been drawn in another order. Where that cannot be,
    there is none, and a note that says why. `offset` is c: errors below it count little.
    """

    needs = ("confidence",)

    def __init__(self, *, level: float = 0.9, offset: float = 0.02) -> None:
        super().__init__()
        if not 0 < level < 1 or not offset > 0:
            given = f"level={level}, offset={offset}"
            raise BadOption(f"predicted_dice takes 0 < level < 1 and offset > 0, not {given}")
        self.level, self.offset = level, offset
        self.side = (1 + level) / 2

    def fit(self, predictions: Sequence[Prediction], truths: Sequence[Array]) -> None:
        """`state` gets lower bound, median and upper bound of each region's score."""
        scores: dict[str, list[float]] = {}
        for prediction, truth in zip(predictions, truths):
            true, said = prediction.task.masks(truth), prediction.masks
            for name, dice in expected_dice(prediction).items():
                error = 1 - _dice(said[name], true[name]) + self.offset
                scores.setdefault(name, []).append(math.log(error / (1 - dice + self.offset)))
        self.state = {**made(predictions), "scores": {}}
        for name, values in scores.items():
            low, high = bound([-value for value in values], self.side), bound(values, self.side)
            if low is not None and high is not None:
                self.state["scores"][name] = [-low, median(values), high]

    def __call__(self, prediction: Prediction) -> Prediction:
        """The same labels, with the Dice to be expected of each region and a note on it."""
        if not self.state:
            return prediction
        if told := self._refusal(prediction):
            return prediction.but(notes=(*prediction.notes, f"No predicted Dice: {told}."))
        note = (
            f"The interval of a predicted Dice holds the true one in {self.level:.0%} of cases, if "
            f"they are like the {self.state['cases']} held-out cases it was learned from."
        )
        found = {}
        for name, dice in expected_dice(prediction).items():
            errors = [(1 - dice + self.offset) * math.exp(s) for s in self.state["scores"][name]]
            ends = [min(1.0, max(0.0, 1 + self.offset - error)) for error in errors]
            found[name] = dict(zip(("high", "value", "low"), (round(end, 4) for end in ends)))
            found[name]["level"] = self.level
        return prediction.but(predicted_dice=found, notes=(*prediction.notes, note))

    def _refusal(self, prediction: Prediction) -> str:
        """Why nothing can be promised of this prediction, empty if it can."""
        if not self.state["scores"]:
            few = f"{self.level:.0%} takes {least(self.side)} held-out cases"
            return f"{few}, not {self.state['cases']}"
        return unlike(self.state, prediction)


def _dice(prediction: Array, truth: Array) -> float:
    """Of two masks; 1 if both are empty, as the expected Dice has it."""
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(prediction & truth) / total if total else 1.0
