"""Random rotations in two and three dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotation(dims: int, degrees: float) -> Tensor:
    """A (dims, dims) rotation by up to `degrees` in each plane of axes, evenly drawn."""
    angles = (2 * torch.rand(3) - 1) * math.radians(degrees)
    turn = torch.eye(dims)
    for angle, (first, second) in zip(angles.tolist(), [(0, 1), (0, 2), (1, 2)]):
        if second < dims:
            step = torch.eye(dims)
            step[first, first] = step[second, second] = math.cos(angle)
            step[first, second], step[second, first] = -math.sin(angle), math.sin(angle)
            turn = turn @ step
    return turn
