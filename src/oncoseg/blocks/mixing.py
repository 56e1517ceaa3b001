"""Mixing images by region: a box of one pasted into another, and grids of blocks with classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from oncoseg.case import CROPS, Batch


def box_mask(shape: Sequence[int], side: float, device: torch.device | None = None) -> Tensor:
    """(*shape) of 1, but 0 in a box at a random place.

    The box is `side` times as long as every axis, rounded down.
    """
    mask = torch.ones(tuple(shape), device=device)
    mask[random_box(shape, [side] * len(shape))] = 0
    return mask


def random_box(shape: Sequence[int], sides: Sequence[float]) -> Any:
    """Slices of a box at a random place, of a share of each axis, rounded down, at least 1."""
    cut = []
    for size, side in zip(shape, sides):
        length = min(size, max(1, int(size * side + 1e-6)))
        start = int(torch.randint(size - length + 1, ()))
        cut.append(slice(start, start + length))
    return tuple(cut)


def paste(outer: Batch, inner: Batch, mask: Tensor) -> Batch:
    """`outer` where `mask` (*S) is 1, `inner` where it is 0: images, presence, labels, weights."""
    here = mask.bool()
    mixed = {name: torch.where(here, getattr(outer, name), getattr(inner, name)) for name in CROPS}
    return outer.but(**mixed)


def block_grid(shape: Sequence[int], sizes: Sequence[int], classes: int, share: float) -> Tensor:
    """(*shape) whole numbers: equal blocks, a `share` of which is of class 1 to `classes`.

    The other blocks and what is left at the edges are 0. A block is `sizes[0]` to `sizes[1]` voxels
    long (at most half of the axis), drawn an axis; so is where the grid starts.
    """
    longest = [max(1, min(sizes[1], size // 2)) for size in shape]
    lengths = [int(torch.randint(min(sizes[0], top), top + 1, ())) for top in longest]
    counts = [size // length for size, length in zip(shape, lengths)]
    total = int(torch.tensor(counts).prod())
    drawn = torch.randint(1, classes + 1, (total,))
    drawn[torch.randperm(total)[int(total * share) :]] = 0
    blocks = drawn.view(counts)
    for axis, length in enumerate(lengths):
        blocks = blocks.repeat_interleave(length, dim=axis)
    grid = torch.zeros(tuple(shape), dtype=torch.long)
    offsets = [int(torch.randint(size % length + 1, ())) for size, length in zip(shape, lengths)]
    inside = tuple(slice(start, start + size) for start, size in zip(offsets, blocks.shape))
    grid[inside] = blocks
    return grid
