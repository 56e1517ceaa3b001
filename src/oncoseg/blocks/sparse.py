"""Sparse convolution made of dense modules: what is masked is 0 after each and enters no norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from oncoseg.blocks.convs import CONV, ConvNormAct
from oncoseg.blocks.norm import NormAct


def at(visible: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Cells (B, 1, *cells) in [0, 1] -> the voxels (B, 1, *shape) that lie in them."""
    if tuple(visible.shape[2:]) == tuple(shape):
        return visible
    return F.interpolate(visible, size=list(shape), mode="nearest")


@contextmanager
def sparse(network: nn.Module, visible: Tensor) -> Iterator[None]:
    """Within, convolutions give 0 where not `visible` (B, 1, *cells) and norms see the rest alone.

    This is what submanifold sparse convolution computes, for any network of convolutions and of
    batch, instance or group norms on (B, C, *S); masks follow as cells of the coarsest grid, so
    that no stride or pooling mixes both kinds. Other modules compute as ever.
    """
    changed = []
    for module in network.modules():
        if isinstance(module, (_ConvNd, _NormBase, nn.GroupNorm, NormAct)):
            norm = not isinstance(module, _ConvNd)
            vars(module)["forward"] = _masked(module, module.forward, visible, norm=norm)
            changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del vars(module)["forward"]


def _masked(module: nn.Module, plain: Any, visible: Tensor, *, norm: bool) -> Any:
    def forward(features: Tensor, *rest: Any) -> Tensor:
        if features.ndim != visible.ndim:
            found: Tensor = plain(features, *rest)
            return found
        if norm:
            found = normalised(module, features, at(visible, tuple(features.shape[2:])))
            return module.act(found) if isinstance(module, NormAct) else found
        found = plain(features, *rest)
        return found * at(visible, tuple(found.shape[2:])).to(found.dtype)

    return forward


class Densify(nn.Module):
    """An embedding where nothing was seen, at every scale; decoded from the coarsest up."""

    def __init__(self, dims: int, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        light = [max(8, width // 2) for width in widths]
        self.unseen = nn.ParameterList(nn.Parameter(0.02 * torch.randn(width)) for width in widths)
        self.project = nn.ModuleList(CONV[dims](w, half, 1) for w, half in zip(widths, light))
        self.up = nn.ModuleList(CONV[dims](b, a, 1) for a, b in pairwise(light))
        self.blocks = nn.ModuleList(ConvNormAct(dims, width, width) for width in light[:-1])
        self.head = CONV[dims](light[0], outputs, 1)

    def forward(self, pyramid: list[Tensor], visible: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Features, cells (B, 1, *cells) -> (B, outputs, *shape)."""
        features = self.dense(len(pyramid) - 1, pyramid[-1], visible)
        for level in reversed(range(len(pyramid) - 1)):
            finer = self.dense(level, pyramid[level], visible)
            features = at(self.up[level](features), tuple(finer.shape[2:])) + finer
            features = self.blocks[level](features)
        return at(self.head(features), shape)

    def dense(self, level: int, features: Tensor, visible: Tensor) -> Tensor:
        """Features of a level, its embedding where they are masked, as wide as the decoder."""
        inside = at(visible, tuple(features.shape[2:])).to(features.dtype)
        unseen = self.unseen[level].view(1, -1, *[1] * (features.ndim - 2))
        filled: Tensor = self.project[level](features + (1 - inside) * unseen)
        return filled


def normalised(module: Any, features: Tensor, visible: Tensor) -> Tensor:
    """(B, C, *S) by the norm `module`, its mean and variance over visible (B, 1, *S) sites alone.

    The result is 0 elsewhere. A batch norm in training keeps its running statistics so, too.
    """
    batch = isinstance(module, _NormBase) and not isinstance(module, _InstanceNorm)
    values, mask = features.float(), visible.float()
    if batch and not module.training and module.track_running_stats:
        mean, variance = (_along(value, values) for value in _running(module))
    else:
        groups = module.num_groups if isinstance(module, nn.GroupNorm) else values.shape[1]
        mean, variance, count = _moments(values, mask, groups, across=batch)
        if batch and module.track_running_stats:
            _follow(module, mean, variance, count)
    scaled = (values - mean) * torch.rsqrt(variance + module.eps)
    if module.weight is not None:
        scaled = scaled * _along(module.weight, values) + _along(module.bias, values)
    return (scaled * mask).to(features.dtype)


def _moments(
    values: Tensor, mask: Tensor, groups: int, *, across: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (B or 1, C, 1, ...) over visible sites, and their number."""
    axes = ([0] if across else []) + list(range(2, values.ndim))
    share = values.shape[1] // groups
    count = mask.sum(axes, keepdim=True).clamp_min(1) * share

    def mean(of: Tensor) -> Tensor:
        sums = (of * mask).sum(axes, keepdim=True)
        whole = sums.unflatten(1, (groups, share)).sum(2, keepdim=True)
        return whole.expand(-1, -1, share, *[-1] * (values.ndim - 2)).flatten(1, 2) / count

    centre = mean(values)
    return centre, mean((values - centre).square()), count


def _running(module: Any) -> tuple[Tensor, Tensor]:
    return module.running_mean, module.running_var


@torch.no_grad()
def _follow(module: Any, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    module.num_batches_tracked += 1
    pace = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
    fair = variance * count / (count - 1).clamp_min(1)
    for value, new in zip(_running(module), (mean, fair)):
        value.lerp_(new.flatten(), pace)


def _along(value: Tensor, like: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (like.ndim - 2))
