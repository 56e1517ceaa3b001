"""Post-hoc steps at work while a scan is predicted: on logits as they come, where they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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
    soften, steps = parted(model.posthoc())
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
    steps: Sequence[Posthoc],
    pairs: Sequence[Pair],
    again: Callable[[Sequence[Posthoc]], list[Pair]],
) -> None:
    """Teach each step what those before it make of held-out cases: predictions and true labels.

    The confidence is summed up while a case is predicted, so a step that reads it learns from cases
    that are predicted `again`, with the steps that change it at work, as they are in use.
    """
    for place, step in enumerate(steps):
        if "confidence" in step.needs and any("logits" in one.needs for one in steps[:place]):
            pairs = again(steps[:place])
        step.fit([one for one, _ in pairs], [truth for _, truth in pairs])
        pairs = [(after(step, one), truth) for one, truth in pairs]
