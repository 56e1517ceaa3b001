"""Probabilities back to logits, as far as float16 kept them."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array, Task

# Float16 holds nothing between 1 - 2^-11 and 1, nor between 0 and 2^-24: what was rounded to either
# end is put at the middle of what it may have been.
TOP = 2.0**-13
BOTTOM = 2.0**-25


def logits_of(task: Task, probability: Array) -> Array:
    """Probability of each region (regions, *S) -> logits (outputs, *S) float32.

    The inverse of `task.probabilities`, up to a constant for exclusive classes, and never infinite.
    """
    values = probability.astype(np.float32)
    if not task.exclusive:
        values = np.clip(values, BOTTOM, 1 - TOP)
        return np.asarray(np.log(values) - np.log1p(-values))
    rest = np.maximum(1 - values.sum(axis=0, keepdims=True), TOP)
    return np.asarray(np.log(np.concatenate([rest, np.maximum(values, BOTTOM)])))
