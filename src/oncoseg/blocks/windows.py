"""Attention within windows, which shift from block to block (Liu 2021, arXiv 2103.14030)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.heads import check_heads, joined, parted
from oncoseg.blocks.norm import LayerNorm
from oncoseg.errors import BadOption

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


def offsets(window: Sequence[int], stride: Sequence[int] = ()) -> Tensor:
    """(N, N): the number of the offset between two places of a window, row by row.

    With a stride, between a place of a window so many times finer and one of the window.
    """
    steps = tuple(stride) or (1,) * len(window)
    fine = [torch.arange(side * step) for side, step in zip(window, steps)]
    coarse = [torch.arange(0, side * step, step) for side, step in zip(window, steps)]
    rows, columns = (
        torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1) for axes in (fine, coarse)
    )
    index = torch.zeros(rows.shape[1], columns.shape[1], dtype=torch.long)
    for side, step, row, column in zip(window, steps, rows, columns):
        between = row[:, None] - column[None, :] + step * (side - 1)
        index = index * step * (2 * side - 1) + between
    return index


def filled(features: Tensor, shape: Sequence[int]) -> Tensor:
    """(B, *S, C) with zeros behind each axis -> (B, *shape, C)."""
    sizes = features.shape[1:-1]
    sides = [side for size, to in zip(sizes[::-1], shape[::-1]) for side in (0, to - int(size))]
    return F.pad(features, (0, 0, *sides)) if any(sides) else features


def first(features: Tensor, shape: Sequence[int]) -> Tensor:
    """Inverse of `filled`: (B, *S, C) -> (B, *shape, C)."""
    box: Any = (slice(None), *(slice(0, int(size)) for size in shape))
    kept: Tensor = features[box]
    return kept


class WindowAttention(nn.Module):
    """Self-attention within windows, with a bias for each offset and head; (W, N, width)."""

    def __init__(self, width: int, window: Sequence[int], heads: int) -> None:
        super().__init__()
        check_heads(heads, width)
        if min(window) < 2:
            raise BadOption(f"windows are at least 2 wide, not {min(window)}")
        self.heads, self.window = heads, tuple(window)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        count = math.prod(2 * side - 1 for side in window)
        self.bias = nn.Parameter(torch.empty(count, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("index", offsets(window), persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (W, N, width) and `mask` (windows, N, N), to be added, -> (W, N, width)."""
        query, key, value = self._heads(tokens)
        added = self._added(tokens, mask).to(query.dtype)
        return self.mixed(F.scaled_dot_product_attention(query, key, value, added))

    def weights(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """How much each place attends to each (W, heads, N, N), and the values it is applied to."""
        query, key, value = self._heads(tokens)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        return torch.softmax(scores + self._added(tokens, mask).to(scores), dim=-1), value

    def mixed(self, values: Tensor) -> Tensor:
        """(W, heads, N, width / heads) -> (W, N, width): the heads side by side, projected."""
        answer: Tensor = self.project(joined(values))
        return answer

    def _heads(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return tuple(parted(part, self.heads) for part in self.qkv(tokens).chunk(3, -1))

    def _added(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Biases and mask; of a window smaller than it was built for the first N offsets count."""
        count, length, _ = tokens.shape
        place = self.index[:length, :length].reshape(-1)  # type: ignore[index]
        added = self.bias[place].unflatten(0, (length, length)).permute(2, 0, 1)[None]
        if mask is not None:
            added = added + mask.repeat(count // len(mask), 1, 1)[:, None].to(added)
        return added


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), on maps (B, *S, width) of any size.

    Windows are shifted by half of their sides where `shifted`, or by so many voxels (`by`). Along
    an axis with no more voxels than the window has, the window is the axis and does not shift.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: Sequence[int],
        *,
        shifted: bool,
        expansion: float = 4.0,
        by: int = 0,
    ) -> None:
        super().__init__()
        self.window, self.shifted, self.by = tuple(window), shifted, by
        self.first, self.second = LayerNorm(width), LayerNorm(width)
        self.attention = WindowAttention(width, window, heads)
        inner = int(expansion * width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        features = features + self.within(self.first(features), self.attention)
        answer: Tensor = features + self.mlp(self.second(features))
        return answer

    def within(self, features: Tensor, attend: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
        """(B, *S, any) -> (B, *S, width): `attend` is shown windows and a mask."""
        sizes = tuple(int(size) for size in features.shape[1:-1])
        window = [min(side, size) for side, size in zip(self.window, sizes)]
        shift = [
            (self.by or side // 2) if self.shifted and size > side else 0
            for side, size in zip(self.window, sizes)
        ]
        shape = [size + -size % side for side, size in zip(window, sizes)]
        padded, axes = filled(features, shape), tuple(range(1, 1 + len(sizes)))
        moved = torch.roll(padded, [-by for by in shift], axes) if any(shift) else padded
        mask = apart(shape, window, shift).to(features) if any(shift) else None
        found = reverse(attend(partition(moved, window), mask), window, shape)
        return first(torch.roll(found, shift, axes) if any(shift) else found, sizes)


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
        self.norm = LayerNorm(many) if norm else nn.Identity()
        self.reduce = nn.Linear(many, 2 * width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S/2, 2 width); odd sizes are rounded up, with zeros."""
        padded = filled(features, [size + size % 2 for size in features.shape[1:-1]])
        boxes: list[Any] = [
            (slice(None), *(slice(start, None, 2) for start in place))
            for place in product((0, 1), repeat=self.dims)
        ]
        parts = [padded[box] for box in boxes]
        found: Tensor = self.reduce(self.norm(torch.cat(parts, dim=-1)))
        return found


class WindowCrossAttention(nn.Module):
    """Places of a fine map attend to the window of a coarse map that covers the same area.

    A window of the coarse map has `window` places along each axis, one of the fine map `stride`
    times as many. There is a bias for each offset and head.
    """

    def __init__(
        self, fine: int, coarse: int, window: Sequence[int], stride: Sequence[int], heads: int
    ) -> None:
        super().__init__()
        check_heads(heads, fine)
        self.window, self.stride, self.heads = tuple(window), tuple(stride), heads
        self.query, self.both = nn.Linear(fine, fine), nn.Linear(coarse, 2 * fine)
        self.project = nn.Linear(fine, fine)
        count = math.prod(step * (2 * side - 1) for side, step in zip(window, stride))
        self.bias = nn.Parameter(torch.empty(count, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("index", offsets(window, stride), persistent=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, *S, fine) and (B, *S / stride rounded up, coarse) -> (B, *S, fine)."""
        shape = [
            -(-int(size) // side) * side for size, side in zip(coarse.shape[1:-1], self.window)
        ]
        further = [size * step for size, step in zip(shape, self.stride)]
        large = [side * step for side, step in zip(self.window, self.stride)]
        there = filled(torch.ones_like(coarse[:1, ..., :1]), shape)
        mask = (1 - partition(there, self.window)) * FAR  # (windows, N, 1)
        query = self.query(partition(filled(fine, further), large))
        key, value = self.both(partition(filled(coarse, shape), self.window)).chunk(2, dim=-1)
        query, key, value = (parted(each, self.heads) for each in (query, key, value))
        added = self.bias[self.index].permute(2, 0, 1)  # type: ignore[index]
        added = added + mask.repeat(len(fine), 1, 1).transpose(1, 2)[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, added.to(query.dtype))
        found = reverse(self.project(joined(mixed)), large, further)
        return first(found, fine.shape[1:-1])
