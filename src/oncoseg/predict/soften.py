"""Post-hoc steps at work while a scan is predicted: on logits as they come, where they can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from oncoseg import registry
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadFile
from oncoseg.model import NONSENSE, REMEDY, Model
from oncoseg.parts import Posthoc
from oncoseg.predict.native import Soften

Pair = tuple[Prediction, Array]


def parted(steps: Sequence[Posthoc]) -> tuple[Soften, list[Posthoc]]:
    """The steps that work on logits as they come, as a function, and those after them."""
    count = next((at for at, step in enumerate(steps) if "probability" in step.needs), len(steps))
    first = [step for step in steps[:count] if "logits" in step.needs]

    def soften(logits: Array) -> Array:
        for step in first:
            logits = step.logits(logits)
        return logits

    return soften, [step for step in steps if step not in first]


def softening(model: Model) -> tuple[Soften, list[Posthoc]]:
    """The steps of a model, parted; raises `BadFile` if what they learned is nonsense."""
    soften, steps = parted(list(model.posthoc.values()))
    try:
        soften(np.zeros((model.task.outputs, 1), dtype=np.float32))
    except NONSENSE as error:
        cause = f"what its posthoc steps learned makes no sense ({type(error).__name__})"
        raise BadFile(model.path, cause, REMEDY) from error
    return soften, steps


def finished(model: Model, steps: Sequence[Posthoc], prediction: Prediction) -> Prediction:
    """A prediction after a model's post-hoc steps; `BadFile` if what they learned is nonsense."""
    try:
        for step in steps:
            prediction = after(step, prediction)
    except NONSENSE as error:
        cause = f"what its posthoc steps learned makes no sense ({type(error).__name__})"
        raise BadFile(model.path, cause, REMEDY) from error
    return prediction


def after(step: Posthoc, prediction: Prediction) -> Prediction:
    """A prediction after a step; its confidence is no longer known if labels or chances changed."""
    made = step(prediction)
    if made.label is prediction.label and made.probability is prediction.probability:
        return made
    return made.but(confidence={})


def teach(
    steps: Sequence[Posthoc], predicted: Callable[[Sequence[Posthoc]], Iterable[Pair]]
) -> list[list[dict[str, Any]]]:
    """Teach steps from held-out cases, and give the lessons of each.

    `predicted` gives predictions and true labels with some steps at work, as they are in use; it is
    called once, and once more after each step that changes them. No case stays in memory. Without
    any case, steps stay as they are.
    """
    lessons: list[list[dict[str, Any]]] = [[] for _ in steps]
    first = 0
    while first < len(steps):
        last = first
        while last < len(steps) - 1 and not steps[last].changes:
            last += 1
        learners = [at for at in range(first, last + 1) if steps[at].learns]
        for prediction, truth in predicted(steps[:first]) if learners else ():
            for at in learners:
                lessons[at].append(steps[at].lesson(prediction, truth))
        for at in learners:
            if lessons[at]:
                steps[at].fit(lessons[at])
        first = last + 1
    return lessons


def ordered(steps: Iterable[str]) -> list[str]:
    """Spelt steps, those that change a prediction before those that promise something of it."""
    return sorted(steps, key=lambda text: not registry.build("posthoc", text).changes)
