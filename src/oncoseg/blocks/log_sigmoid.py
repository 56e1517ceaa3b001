"""The logarithm of a sigmoid, as a graph may hold it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def log_sigmoid(values: Tensor) -> Tensor:
    """log(sigmoid(x)) = -softplus(-x), element by element.

    torch's becomes the two functions one after another in a graph: of -104 there is no sigmoid
    above 0 in float32, of -18 none in float16, and so no logarithm.
    """
    return -F.softplus(-values)
