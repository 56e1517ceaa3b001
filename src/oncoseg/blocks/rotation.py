"""Random rotations in two and three dimensions, and values at the places they lead to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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


def sampled(parts: Sequence[Tensor], grid: Tensor) -> list[Tensor]:
    """Parts (C, *S) at the places of a `grid` as `grid_sample` has it, float32; 0 from beside.

    Channels that are 0 everywhere stay so and cost nothing.
    """
    rows = [row for part in parts for row in part]
    filled = [place for place, row in enumerate(rows) if row.any()]
    moved = grid.new_zeros(len(rows), *grid.shape[1:-1])
    if filled:
        # Channels of one place lie side by side, as they are read.
        wide = torch.stack([rows[place].to(grid) for place in filled], dim=-1)[None].movedim(-1, 1)
        moved[filled] = F.grid_sample(wide, grid, align_corners=True)[0]
    return list(moved.split([len(part) for part in parts]))
