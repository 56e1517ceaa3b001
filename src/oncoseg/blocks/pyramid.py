"""Pyramids of features, and deep supervision: targets at the resolution of coarser logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.resize import fitted, resized

AREA: dict[int, Any] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def climbed(
    stages: Iterable[nn.Module], features: Tensor, between: Iterable[nn.Module] = ()
) -> list[Tensor]:
    """What each stage of an encoder makes of what the one before it made, finest first.

    `between` are what stands between stages, if anything: pooling, mostly.
    """
    ways, pyramid = list(between), list[Tensor]()
    for place, stage in enumerate(stages):
        features = ways[place - 1](features) if place and ways else features
        features = stage(features)
        pyramid.append(features)
    return pyramid


def beside(above: Tensor, skip: Tensor) -> Tensor:
    """What was brought up, cut to the size of the skip, and the skip: (B, C + C', *S)."""
    return torch.cat([fitted(above, skip), skip], dim=1)


def stretched(above: Tensor, skip: Tensor) -> Tensor:
    """What lies below, interpolated to the size of the skip, and the skip: (B, C + C', *S)."""
    return torch.cat([resized(above, skip.shape[2:]), skip], dim=1)


def summed(above: Tensor, skip: Tensor) -> Tensor:
    """The sum of what lies below, interpolated to the size of the skip, and the skip."""
    return resized(above, skip.shape[2:]) + skip


def descended(
    pyramid: Sequence[Tensor],
    up: Sequence[nn.Module] | nn.ModuleList,
    stages: nn.ModuleList,
    join: Callable[[Tensor, Tensor], Tensor] = beside,
) -> Iterator[tuple[int, Tensor]]:
    """The decoder of a U-Net: each level and its features, the coarsest, which is as it was, first.

    What lies below goes through `up`, if that is not empty, is joined with the skip, and goes
    through a stage.
    """
    features = pyramid[-1]
    yield len(stages), features
    for level in reversed(range(len(stages))):
        above = up[level](features) if len(up) else features
        features = stages[level](join(above, pyramid[level]))
        yield level, features


def finest(levels: Iterable[tuple[int, Tensor]]) -> Tensor:
    """The last features of a decoder, none of the others held."""
    return deque(levels, maxlen=1)[0][1]


def logits_of(
    heads: nn.ModuleList, levels: Iterable[tuple[int, Tensor]], *, every: bool
) -> list[Tensor]:
    """Logits of `every` level that has a head, finest first, or of the finest alone."""
    found = [
        heads[level](features)
        for level, features in levels
        if level < len(heads) and (every or level == 0)
    ]
    return found[::-1]


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
