"""Saliency of markers: how near the next one is, in millimetres, and which voxels are markers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.convs import LARGEST

REACH = 4.0  # deviations, beyond which exp(-d^2 / 2 sigma^2) < 0.0004 is 0


def nearness(mask: Tensor, spacing: Sequence[float], sigma: float) -> Tensor:
    """exp(-d^2 / (2 sigma^2)) of the distance d to the nearest voxel of a mask (B, C, *S), in mm.

    1 in the mask, 0 where none is within `REACH` deviations along an axis. The distance is exact:
    the squares of its parts along the axes add up, so the nearest is found axis by axis.
    """
    found = mask
    for axis, length in enumerate(spacing, start=2):
        count = mask.shape[axis]
        steps = min(count - 1, int(REACH * sigma / length))
        wide, best = _widened(found, axis, steps), found
        for step in range(1, steps + 1):
            share = math.exp(-0.5 * (step * length / sigma) ** 2)
            beside = (wide.narrow(axis, steps + way, count) for way in (-step, step))
            best = torch.maximum(best, share * torch.maximum(*beside))
        found = best
    return found


def small_parts(mask: Tensor, spacing: Sequence[float], largest: float) -> Tensor:
    """The voxels of a mask (B, C, *S) that belong to nothing `largest` mm wide along every axis.

    What holds a box of that size is taken out, and all within the size of it.
    """
    core = mask
    for axis, length in enumerate(spacing, start=2):  # boxes are made of lines
        core = 1 - _widest(1 - core, axis, int(largest / length), 0, outside=1)
    near = core
    for axis, length in enumerate(spacing, start=2):
        side = int(largest / length) + 1
        near = _widest(near, axis, side, 2 * side - 1)
    return mask * (1 - near)


def _widest(values: Tensor, axis: int, before: int, after: int, outside: float = 0) -> Tensor:
    """The largest from so many voxels before to so many after each along an axis."""
    dims = values.ndim - 2
    kernel = [before + after + 1 if at == axis else 1 for at in range(2, values.ndim)]
    pooled: Tensor = LARGEST[dims](_widened(values, axis, before, after, outside), kernel, 1)
    return pooled


def _widened(values: Tensor, axis: int, before: int, after: int = -1, outside: float = 0) -> Tensor:
    """Padded along an axis by so many voxels before, and as many or so many after."""
    ends = [0] * (2 * (values.ndim - 1 - axis)) + [before, before if after < 0 else after]
    return F.pad(values, ends, value=outside)
