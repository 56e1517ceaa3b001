"""Volumes as slices along one axis: cut, put back, laid beside their neighbours, and segmented.

Axes are counted among the spatial ones: 0, 1, 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from oncoseg import registry
from oncoseg.case import Batch, Prompts, Task
from oncoseg.trainable import Network


def across(spacing: Sequence[float]) -> int:
    """The axis that slices lie along: that of the longest voxels, the last of equal ones."""
    return max(range(len(spacing)), key=lambda axis: (round(spacing[axis], 3), axis))


def cut(volume: Tensor, axis: int) -> Tensor:
    """(B, C, *S) -> every slice along an axis (B n, C, *S without it)."""
    return volume.movedim(2 + axis, 1).flatten(0, 1)


def joined(slices: Tensor, axis: int, count: int) -> Tensor:
    """Inverse of `cut` for volumes of `count` slices; other sizes may have changed."""
    return slices.unflatten(0, (-1, count)).movedim(1, 2 + axis)


def beside(volume: Tensor, axis: int, offsets: Sequence[int], *, repeat: bool = True) -> Tensor:
    """(B, C, *S) -> (B, offsets C, *S): the slice so many further on, offset by offset.

    Beyond either end is the last slice there again, or zeros where it is not to `repeat`.
    """
    count = volume.shape[2 + axis]
    places = torch.arange(count, device=volume.device)
    found = []
    for offset in offsets:
        there = places + offset
        moved = volume.index_select(2 + axis, there.clamp(0, count - 1))
        if not repeat and offset:
            known = ((there >= 0) & (there < count)).to(volume.dtype)
            shape = [count if at == 2 + axis else 1 for at in range(volume.ndim)]
            moved = moved * known.view(shape)
        found.append(moved)
    return torch.cat(found, dim=1)


class Slicewise(nn.Module):
    """Any network, slice by slice along an axis of volumes; 2-D images go through as they are.

    It sees `modalities` (those of the task, if none are named).
    """

    def __init__(self, task: Task, network: str, axis: int, modalities: Sequence[str] = ()) -> None:
        super().__init__()
        self.axis, self.dims = axis, task.dims
        kept = [at for at in range(task.dims) if task.dims == 2 or at != axis]
        flat = replace(
            task,
            modalities=tuple(modalities) or task.modalities,
            spacing=tuple(task.spacing[at] for at in kept),
            patch=tuple(task.patch[at] for at in kept),
            strides=tuple(tuple(stride[at] for at in kept) for stride in task.strides),
        )
        self.network: Network = registry.build("networks", network, flat)
        self.widths = list(self.network.widths)

    def flat(self, batch: Batch, image: Tensor, present: Tensor) -> Batch:
        """A batch of slices (B n, M, *S without the axis), of whose labels nothing is known."""
        if self.dims == 2:
            return batch.but(image=image, present=present, prompts=Prompts.none(image))
        slices, count = cut(image, self.axis), image.shape[2 + self.axis]
        unknown = slices.new_zeros(len(slices), 0)
        told = ("labeled", "annotated", "domain")
        repeated = {name: getattr(batch, name).repeat_interleave(count, 0) for name in told}
        return Batch(
            image=slices,
            present=cut(present, self.axis),
            label=unknown,
            weight=unknown,
            prompts=Prompts.none(slices),
            **repeated,
        )

    def encode(self, batch: Batch, image: Tensor, present: Tensor) -> list[Tensor]:
        """Features (B, widths[i], *S_i), whole along the axis, finest first."""
        return self._back(self.network.encode(self.flat(batch, image, present)), image)

    def decode(
        self, pyramid: list[Tensor], batch: Batch, image: Tensor, present: Tensor
    ) -> list[Tensor]:
        """Logits (B, outputs, *S_i), whole along the axis, finest first."""
        flat = self.flat(batch, image, present)
        levels = pyramid if self.dims == 2 else [cut(level, self.axis) for level in pyramid]
        return self._back(self.network.decode(levels, flat), image)

    def _back(self, levels: list[Tensor], image: Tensor) -> list[Tensor]:
        if self.dims == 2:
            return levels
        return [joined(level, self.axis, image.shape[2 + self.axis]) for level in levels]
