"""The Dice that a segmentation will turn out to have, within bounds learned from held-out cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from oncoseg.blocks.counts import dice
from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.blocks.held_out import bound, gathered, least, lesson, made, refusal, strict
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
LEVELS = 0.9, 0.8  # what is promised, the first that there are cases enough for


class PredictedDice(Posthoc):
    """1 - Dice is (1 - E + c) exp(s) - c: E the expected Dice, s the median of held-out scores.

    Half of 1 - `level` of new cases may lie beyond either bound of s, which are order statistics of
    the held-out scores; so the true Dice is inside in at least `level` of the cases, if a new case
    and the n held-out ones could as well have been drawn in another order. A level of 0 means 0.9,
    or 0.8 where cases are too few for that. Where none can be promised, there is none, and a note
    says why. `offset` is c: errors below it count little.
    """

    needs = ()

    def __init__(self, *, level: float = 0.0, offset: float = 0.02) -> None:
        super().__init__()
        if not 0 <= level < 1 or not offset > 0:
            given = f"level={level}, offset={offset}"
            raise BadOption(f"predicted_dice takes 0 <= level < 1 and offset > 0, not {given}")
        self.levels, self.offset = (level,) if level else LEVELS, offset

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """The score of each region."""
        true, scores = dice(prediction.task, prediction.label, truth), {}
        for name, said in expected_dice(prediction).items():
            scores[name] = math.log((1 - true[name] + self.offset) / (1 - said + self.offset))
        return lesson(prediction, scores)

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:
        """`state` gets the level, and of each region's score lower bound, median, upper bound."""
        state = made(lessons)
        able = [one for one in self.levels if len(lessons) >= least(strict(side(one), state))]
        level = (able or self.levels[-1:])[0]
        sure = strict(side(level), state)
        self.state = {**state, "level": level, "scores": {}}
        for name, values in gathered(lessons).items():
            low, high = bound([-value for value in values], sure), bound(values, sure)
            if low is not None and high is not None:
                self.state["scores"][name] = [-low, median(values), high]

    def __call__(self, prediction: Prediction) -> Prediction:
        """The same labels, with the Dice to be expected of each region and a note on it."""
        if not self.state:
            return prediction
        scores, level = self.state["scores"], self.state.get("level", self.levels[0])
        if told := refusal(self.state, prediction, scores, level, side(level)):
            return prediction.but(notes=(*prediction.notes, f"No predicted Dice: {told}."))
        note = (
            f"The interval of a predicted Dice holds the true one in {level:.0%} of cases, if "
            f"they are like the {self.state['cases']} held-out cases it was learned from."
        )
        found = {}
        for name, said in expected_dice(prediction).items():
            errors = [(1 - said + self.offset) * math.exp(s) for s in scores[name]]
            ends = [min(1.0, max(0.0, 1 + self.offset - error)) for error in errors]
            found[name] = dict(zip(("high", "value", "low"), (round(end, 4) for end in ends)))
            found[name]["level"] = level
        return prediction.but(predicted_dice=found, notes=(*prediction.notes, note))


def side(level: float) -> float:
    """How sure either bound is."""
    return (1 + level) / 2
