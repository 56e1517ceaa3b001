"""Sizes of maps: zeros behind an image so that it can be halved, the cut after, interpolation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

LINEAR = {2: "bilinear", 3: "trilinear"}


def padded(image: Tensor, step: Sequence[int] | int, *, several: bool = False) -> Tensor:
    """(B, C, *S) with zeros behind each axis, so that `step` (one, or one an axis) divides it.

    With `several`, an image of one step is padded to two along its last axis: of one voxel there
    would be no norm.
    """
    shape = image.shape[2:]
    steps = list(step) if isinstance(step, Sequence) else [step] * len(shape)
    if several and all(size <= by for size, by in zip(shape, steps)):
        steps[-1] *= 2
    sides = [side for size, by in zip(shape, steps) for side in (-size % by, 0)][::-1]
    return F.pad(image, sides) if any(sides) else image


def fitted(features: Tensor, like: Tensor) -> Tensor:
    """Cut to the size of another map, where padding or an odd size that was halved made it more."""
    if features.shape[2:] == like.shape[2:]:
        return features
    box: Any = (..., *(slice(0, size) for size in like.shape[2:]))
    return features[box]


def resized(features: Tensor, shape: Iterable[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *shape), linearly."""
    size = tuple(shape)
    if tuple(features.shape[2:]) == size:
        return features
    mode = LINEAR[features.ndim - 2]
    return F.interpolate(features, size=size, mode=mode, align_corners=False)


def doubled(features: Tensor, *, corners: bool = False) -> Tensor:
    """(B, C, *S) -> (B, C, *2S), linearly; with `corners`, those of both are aligned."""
    mode = LINEAR[features.ndim - 2]
    return F.interpolate(features, scale_factor=2, mode=mode, align_corners=corners)


def enlarged(features: Tensor, image: Tensor, step: int) -> Tensor:
    """A map of an image (B, M, *S) that was `padded` to `step`, at the size of the image."""
    return fitted(resized(features, [size + -size % step for size in image.shape[2:]]), image)
