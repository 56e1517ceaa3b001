"""Attention within windows, which shift from block to block (Liu 2021, arXiv 2103.14030)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FAR = -100.0  # added to what may not be attended


def partition(features: Tensor, window: Sequence[int]) -> Tensor:
    """(B, *S, C), with S a multiple of the window -> (B windows, prod(window), C)."""
    for axis, size in enumerate(window):
        features = features.unflatten(1 + 2 * axis, (-1, size))
    dims = len(window)
    order = [0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1]
    return features.permute(order).flatten(dims + 1, 2 * dims).flatten(0, dims)


def reverse(windows: Tensor, window: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Inverse of `partition`: -> (B, *shape, C)."""
    counts = [size // side for size, side in zip(shape, window)]
    features = windows.unflatten(1, tuple(window)).unflatten(0, (-1, *counts))
    dims = len(window)
    pairs = [place for axis in range(dims) for place in (1 + axis, 1 + dims + axis)]
    return features.permute(0, *pairs, 2 * dims + 1).reshape(-1, *shape, features.shape[-1])


def apart(shape: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> Tensor:
    """(windows, N, N): 0 within what lies together in the image, `FAR` across a cyclic shift."""
    image = torch.zeros(tuple(shape))
    pieces = [
        [slice(0, -side), slice(-side, -by), slice(-by, None)] if by else [slice(None)]
        for side, by in zip(window, shift)
    ]
    for number, place in enumerate(product(*pieces)):
        image[place] = number
    groups = partition(image[None, ..., None], window)[..., 0]
    return (groups[:, None] != groups[:, :, None]).float() * FAR


def offsets(window: Sequence[int]) -> Tensor:
    """(N, N): the number of the offset between two places of a window, row by row."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, window), indexing="ij")).flatten(1)
    index = torch.zeros(places.shape[1], places.shape[1], dtype=torch.long)
    for side, axis in zip(window, places):
        index = index * (2 * side - 1) + (axis[:, None] - axis[None, :] + side - 1)
    return index


class WindowAttention(nn.Module):
    """Self-attention within windows, with a bias for each offset and head; (W, N, width)."""

    def __init__(self, width: int, window: Sequence[int], heads: int) -> None:
        super().__init__()
        self.heads, self.window = heads, tuple(window)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        count = math.prod(2 * side - 1 for side in window)
        self.bias = nn.Parameter(torch.empty(count, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("index", offsets(window), persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (W, N, width) and `mask` (windows, N, N), to be added, -> (W, N, width).

        Of a window that is smaller than the one it was built for the first N offsets count.
        """
        count, length, _ = tokens.shape
        query, key, value = (
            self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        place = self.index[:length, :length].reshape(-1)  # type: ignore[index]
        added = self.bias[place].unflatten(0, (length, length)).permute(2, 0, 1)[None]
        if mask is not None:
            repeated = mask.repeat(count // len(mask), 1, 1)
            added = added + repeated[:, None].to(added)
        mixed = F.scaled_dot_product_attention(query, key, value, added.to(query.dtype))
        answer: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return answer


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), on maps (B, *S, width) of any size.

    Windows are shifted by half of their sides where `shifted`. Along an axis with no more voxels
    than the window has, the window is the axis and does not shift.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: Sequence[int],
        *,
        shifted: bool,
        expansion: float = 4.0,
    ) -> None:
        super().__init__()
        self.window, self.shifted = tuple(window), shifted
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, window, heads)
        inner = int(expansion * width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        features = features + self._within(self.first(features))
        answer: Tensor = features + self.mlp(self.second(features))
        return answer

    def _within(self, features: Tensor) -> Tensor:
        sizes = tuple(int(size) for size in features.shape[1:-1])
        window = [min(side, size) for side, size in zip(self.window, sizes)]
        shift = [
            side // 2 if self.shifted and size > side else 0
            for side, size in zip(self.window, sizes)
        ]
        further = [-size % side for side, size in zip(window, sizes)]
        sides = [side for extra in reversed(further) for side in (0, extra)]
        padded = F.pad(features, (0, 0, *sides)) if any(sides) else features
        shape = [size + extra for size, extra in zip(sizes, further)]
        axes = tuple(range(1, 1 + len(sizes)))
        moved = torch.roll(padded, [-by for by in shift], axes) if any(shift) else padded
        mask = apart(shape, window, shift).to(features) if any(shift) else None
        found = reverse(self.attention(partition(moved, window), mask), window, shape)
        back = torch.roll(found, shift, axes) if any(shift) else found
        box: Any = (slice(None), *(slice(0, size) for size in sizes))
        kept: Tensor = back[box]
        return kept


class SwinStage(nn.Module):
    """`depth` blocks, every other one shifted; (B, *S, width) -> the same."""

    def __init__(
        self, width: int, depth: int, heads: int, window: Sequence[int], expansion: float = 4.0
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                SwinBlock(width, heads, window, shifted=bool(place % 2), expansion=expansion)
                for place in range(depth)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        found: Tensor = self.blocks(features)
        return found


class PatchMerging(nn.Module):
    """Neighbours of two along each axis side by side, norm, a linear map to twice the width."""

    def __init__(self, width: int, dims: int, *, norm: bool = True) -> None:
        super().__init__()
        self.dims, many = dims, 2**dims * width
        self.norm = nn.LayerNorm(many) if norm else nn.Identity()
        self.reduce = nn.Linear(many, 2 * width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S/2, 2 width); odd sizes are rounded up, with zeros."""
        sides = [side for size in reversed(features.shape[1:-1]) for side in (0, int(size) % 2)]
        padded = F.pad(features, (0, 0, *sides)) if any(sides) else features
        boxes: list[Any] = [
            (slice(None), *(slice(start, None, 2) for start in place))
            for place in product((0, 1), repeat=self.dims)
        ]
        parts = [padded[box] for box in boxes]
        found: Tensor = self.reduce(self.norm(torch.cat(parts, dim=-1)))
        return found
