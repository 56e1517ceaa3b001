"""Pyramids of features, and deep supervision: targets at the resolution of coarser logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.resize import fitted

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


def descended(
    pyramid: Sequence[Tensor],
    up: nn.ModuleList,
    stages: nn.ModuleList,
    fit: Callable[[Tensor, Tensor], Tensor] = fitted,
) -> Iterator[tuple[int, Tensor]]:
    """The decoder of a U-Net: level and features of all levels but the coarsest, coarse ones first.

    What comes up is given the size of the skip by `fit`, and goes beside it through a stage.
    """
    features = pyramid[-1]
    for level in reversed(range(len(stages))):
        above = fit(up[level](features), pyramid[level])
        features = stages[level](torch.cat([above, pyramid[level]], dim=1))
        yield level, features


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
