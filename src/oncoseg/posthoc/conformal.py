"""Split-conformal volume intervals: how wrong volumes were on held-out cases bounds new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.blocks.held_out import bound, gathered, lesson, made, refusal, strict
from oncoseg.blocks.sizes import volumes
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty "
    "Quantification",
    2021,
    arxiv="2107.07511",
    reading="The score, |log((V + c) / (true V + c))| a region, is ours.",
)


class Conformal(Posthoc):
    """[(V + c) exp(-q) - c, (V + c) exp(q) - c], q the ceil((n + 1) level)-th smallest score.

    V is a region's volume in ml (2-D: area, mm²), c is `offset`, in the same unit, which bounds the
    weight of tiny volumes. Each region's true volume is inside in at least `level` of the cases, if
    a new case and the n held-out ones could as well have been drawn in another order; where that
    cannot be, there is no interval, and a note that says why.
    """

    needs = ()

    def __init__(self, *, level: float = 0.9, offset: float = 0.1) -> None:
        super().__init__()
        if not 0 < level < 1 or not offset > 0:
            given = f"level={level}, offset={offset}"
            raise BadOption(f"conformal takes 0 < level < 1 and offset > 0, not {given}")
        self.level, self.offset = level, offset

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """The score of each region."""
        true, scores = volumes(prediction.task, truth, prediction.grid), {}
        for name, volume in volumes(prediction.task, prediction.label, prediction.grid).items():
            scores[name] = abs(math.log((volume + self.offset) / (true[name] + self.offset)))
        return lesson(prediction, scores)

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:
        """`state` gets the quantile q of each region, none where cases are too few for the level.

        It also gets which modalities were missing in the cases.
        """
        state = made(lessons)
        sure = strict(self.level, state)
        bounds = {name: bound(values, sure) for name, values in gathered(lessons).items()}
        known = {name: value for name, value in bounds.items() if value is not None}
        self.state = {**state, "quantiles": known}

    def __call__(self, prediction: Prediction) -> Prediction:
        """The same labels, with intervals and a note on what they mean."""
        if not self.state:
            return prediction
        quantiles = self.state["quantiles"]
        size = "an area" if prediction.grid.dims == 2 else "a volume"
        if told := refusal(self.state, prediction, quantiles, self.level, self.level):
            return prediction.but(notes=(*prediction.notes, f"No interval of {size}: {told}."))
        note = (
            f"The interval of {size} holds the true one in {self.level:.0%} of cases, if they are "
            f"like the {self.state['cases']} held-out cases it was learned from."
        )
        intervals = {
            name: (
                max(0.0, (volume + self.offset) * math.exp(-quantiles[name]) - self.offset),
                (volume + self.offset) * math.exp(quantiles[name]) - self.offset,
            )
            for name, volume in volumes(prediction.task, prediction.label, prediction.grid).items()
        }
        notes = (*prediction.notes, note)
        return prediction.but(intervals=intervals, level=self.level, notes=notes)
