"""Pyramids of features, and deep supervision: targets at the resolution of coarser logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

AREA: dict[int, Any] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def climbed(stages: Iterable[nn.Module], features: Tensor) -> list[Tensor]:
    """What each stage of an encoder makes of what the one before it made, finest first."""
    pyramid = []
    for stage in stages:
        features = stage(features)
        pyramid.append(features)
    return pyramid


def shrink(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, C, *S) -> (B, C, *shape) by averaging.

    Memberships and weights stay shares of their voxel.
    """
    if tuple(values.shape[2:]) == tuple(shape):
        return values
    return AREA[values.ndim - 2](values, list(shape))


def level_weights(count: int) -> list[float]:
    """1, 1/2, 1/4, ... normalised to sum 1, finest first (deep supervision as in nnU-Net)."""
    raw = [0.5**level for level in range(count)]
    return [value / sum(raw) for value in raw]
