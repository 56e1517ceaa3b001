"""The middle of a batch that was read with a margin, and images moved by whole voxels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from oncoseg.case import CROPS, Batch, Prompts


def centre(batch: Batch, patch: tuple[int, ...]) -> Batch:
    """The middle `patch` voxels of a batch that was read with a margin."""
    if tuple(batch.image.shape[2:]) == tuple(patch):
        return batch
    first = [(size - length) // 2 for size, length in zip(batch.image.shape[2:], patch)]
    box = (..., *(slice(start, start + length) for start, length in zip(first, patch)))
    cut: dict[str, Tensor] = {name: getattr(batch, name)[box] for name in CROPS}
    return batch.but(**cut, prompts=Prompts.none(cut["image"]))


def moved(values: Tensor, by: Sequence[int]) -> Tensor:
    """Values (B, C, *S) moved by whole voxels along each axis; what comes from outside is 0."""
    for axis, count in enumerate(by, start=2):
        if count:
            values = values.roll(count, axis)
            edge = slice(0, count) if count > 0 else slice(count, None)
            values[(slice(None),) * axis + (edge,)] = 0
    return values
