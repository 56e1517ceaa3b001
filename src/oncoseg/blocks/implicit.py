"""What decodes at points: rational activations, conditioned norms, patches round points, draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import LARGEST, POOL

# The fit of P(x) / (1 + |Q(x)|) to leaky ReLU 0.01 on [-3, 3] whose largest error, 0.016, is least.
OVER = (0.015938, 0.505, 2.464572, 3.823948, 2.055193, 0.367613)
UNDER = (0.0, 7.572183, 0.0, 0.727948)


class Pade(nn.Module):
    """P(x) / (1 + |Q(x)|) of orders 5 and 4, learned; leaky ReLU at first (arXiv 1907.06732)."""

    def __init__(self) -> None:
        super().__init__()
        self.over, self.under = nn.Parameter(torch.tensor(OVER)), nn.Parameter(torch.tensor(UNDER))

    def forward(self, features: Tensor) -> Tensor:
        """Any shape, in float32 at least."""
        value = features.to(torch.promote_types(features.dtype, self.over.dtype))
        above, below = self.over[5], self.under[3]
        for factor in reversed(self.over[:5]):
            above = above * value + factor
        for factor in reversed(self.under[:3]):
            below = below * value + factor
        return above / (1 + (below * value).abs())


class ConditionalNorm(nn.Module):
    """Batch norm of all points and features at once, scaled and shifted by a code of the item.

    Points (B, P, width) and code (B, known) -> (B, P, width); at first the norm alone.
    """

    def __init__(self, width: int, known: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.scale, self.shift = nn.Linear(known, width), nn.Linear(known, width)
        for layer, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, start)

    def forward(self, points: Tensor, code: Tensor) -> Tensor:
        """(B, P, width) and (B, known) -> (B, P, width)."""
        normal = self.norm(points.flatten(1)[:, None]).reshape(points.shape)
        found: Tensor = self.scale(code)[:, None] * normal + self.shift(code)[:, None]
        return found


class Fourier(nn.Module):
    """Sines and cosines of `count` random waves of the place, beside it (arXiv 2006.10739)."""

    waves: Tensor

    def __init__(self, dims: int, count: int = 16, spread: float = 4.0) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(dims, count) * spread)

    def forward(self, places: Tensor) -> Tensor:
        """(..., dims), from 0 to 1 in the image, -> (..., 2 count + dims)."""
        with torch.autocast(places.device.type, enabled=False):  # bfloat16 tells no angles apart
            angles = 2 * math.pi * places @ self.waves
        return torch.cat([angles.cos(), angles.sin(), places], dim=-1)


def around(image: Tensor, places: Tensor, side: int, *, pooled: bool = False) -> Tensor:
    """The patch of `side` (odd) voxels round each place, 0 beyond the image.

    (B, C, *S) and voxels (B, P, dims) -> (B, P, C, side, ...). `pooled`, it reaches twice as far:
    its values are means of two voxels along each axis.
    """
    dims, step = image.ndim - 2, 2 if pooled else 1
    before, after = (side, side - 1) if pooled else (side // 2, side // 2)
    wide = F.pad(image, [before, after] * dims)
    windows = POOL[dims](wide, 2, 1) if pooled else wide
    for axis in range(2, 2 + dims):
        windows = windows.unfold(axis, step * (side - 1) + 1, 1)
    items = torch.arange(len(image), device=image.device)[:, None].expand(places.shape[:2])
    box: Any = (items, slice(None), *places.unbind(-1))
    thin: Any = (..., *(slice(None, None, step) for _ in range(dims)))
    return windows[thin][box]


def border(label: Tensor) -> Tensor:
    """(B, C, *S) -> (B, *S): where the label of some neighbour, by a corner too, is another."""
    pool = LARGEST[label.ndim - 2]
    sides = [1] * (2 * (label.ndim - 2))
    wide = F.pad(label.float(), sides, mode="replicate")
    return (pool(wide, 3, 1) + pool(-wide, 3, 1) > 0.5).any(dim=1)


def drawn(near: Tensor, count: int, balance: float) -> Tensor:
    """(B, *S) -> voxels (B, count, dims); a share `balance` of them where it is true, if it is."""
    shape = near.shape[1:]
    items = []
    for item in near:
        flat = torch.randint(item.numel(), (count,), device=near.device)
        chosen = item.flatten().nonzero()[:, 0]
        if len(chosen):
            some = int(count * balance)
            flat[:some] = chosen[torch.randint(len(chosen), (some,), device=near.device)]
        items.append(torch.stack(torch.unravel_index(flat, shape), dim=-1))
    return torch.stack(items)


def every(shape: Sequence[int], step: int, device: Any) -> Tensor:
    """Every so manieth voxel along each axis: (*ceil(S / step), dims)."""
    axes = [torch.arange(0, int(size), step, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def in_stages(
    ask: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    stages: Sequence[int],
    *,
    exclusive: bool,
    many: int = 2**14,
) -> Tensor:
    """Logits (outputs, *S) of all voxels, few of which are asked for.

    `ask` maps voxels (P, dims) to logits (outputs, P), at most `many` at once. All of the coarsest
    grid are asked for, and of each finer one, of half the step, those new next to a place whose
    neighbours are of another class or region; others take the logits of the coarser grid.
    """
    places = every(shape, stages[0], None)
    logits = _asked(ask, places.flatten(0, -2), many).unflatten(1, places.shape[:-1])
    for step in stages[1:]:
        places = every(shape, step, logits.device)
        new = _doubled(border(_labels(logits, exclusive)[None]), places.shape[:-1])[0]
        new[tuple(slice(None, None, 2) for _ in shape)] = False  # known already
        logits = _doubled(logits, places.shape[:-1])
        if new.any():
            logits[:, new] = _asked(ask, places[new], many).to(logits.dtype)
    return logits


def _asked(ask: Callable[[Tensor], Tensor], places: Tensor, many: int) -> Tensor:
    return torch.cat([ask(some) for some in places.split(many)], dim=1)


def _labels(logits: Tensor, exclusive: bool) -> Tensor:
    """(outputs, *S) -> 1 for the class or the regions that a place is of, else 0."""
    if not exclusive:
        return (logits > 0).float()
    return F.one_hot(logits.argmax(0), len(logits)).movedim(-1, 0).float()


def _doubled(values: Tensor, shape: Sequence[int]) -> Tensor:
    """(C, *S/2) -> (C, *shape): each value twice along each axis, cut."""
    for axis, size in enumerate(shape, start=1):
        values = values.repeat_interleave(2, dim=axis).narrow(axis, 0, int(size))
    return values.clone()
