"""Vision transformer: patches, sin-cos positions, attention that some tokens take no part in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.heads import check_heads, joined, parted
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.resize import resized


def patchify(image: Tensor, patch: int) -> Tensor:
    """(B, M, *S) -> (B, M, N, patch^dims): the voxels of each patch, patches in row-major order."""
    dims = image.ndim - 2
    for axis in range(dims):
        image = image.unflatten(2 + 2 * axis, (-1, patch))
    order = [0, 1, *range(2, 2 + 2 * dims, 2), *range(3, 3 + 2 * dims, 2)]
    return image.permute(order).flatten(2 + dims).flatten(2, 1 + dims)


def unpatchify(patches: Tensor, grid: Sequence[int], patch: int) -> Tensor:
    """Inverse of `patchify`: (B, M, N, patch^dims) -> (B, M, *(grid * patch))."""
    dims = len(grid)
    blocks = patches.unflatten(3, (patch,) * dims).unflatten(2, tuple(grid))
    pairs = [place for axis in range(dims) for place in (2 + axis, 2 + dims + axis)]
    return blocks.permute(0, 1, *pairs).reshape(
        *patches.shape[:2], *(length * patch for length in grid)
    )


def sincos_positions(grid: Sequence[int], width: int, device: Any = None) -> Tensor:
    """Fixed codes (N, width) of the places in a grid, in row-major order; any number of axes.

    Axis a, place x: sin(x f_k) and cos(x f_k) with f_k = 10000^(-k / K) for k < K = width // (2
    axes); what is left of `width` is 0.
    """
    count = width // (2 * len(grid))
    frequencies = torch.exp(torch.arange(count, device=device) * (-math.log(10000.0) / count))
    axes = [torch.arange(length, device=device) for length in grid]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    angles = places.unsqueeze(-1) * frequencies
    codes = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return F.pad(codes, (0, width - codes.shape[1]))


class Attention(nn.Module):
    """Self-attention of `heads` heads, in which tokens that are not there are attended by none."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(heads, width)
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Tokens (B, L, width) and which are there (B, L) bool, at least one an item."""
        query, key, value = (parted(part, self.heads) for part in self.qkv(tokens).chunk(3, -1))
        mask = None if there is None else there[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        answer: Tensor = self.project(joined(mixed))
        return answer


class VitBlock(nn.Module):
    """Pre-norm transformer block: attention, then two linear layers `expansion` times as wide."""

    def __init__(self, width: int, heads: int, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        tokens = tokens + self.attention(self.first(tokens), there)
        answer: Tensor = tokens + self.mlp(self.second(tokens))
        return answer


class Vit(nn.Module):
    """`depth` blocks over tokens and a class token, which is always there.

    So attention is defined for an item of which nothing is there.
    """

    def __init__(
        self, width: int, depth: int, heads: int, expansion: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.summary = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            VitBlock(width, heads, expansion, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(width)
        nn.init.trunc_normal_(self.summary, std=0.02)
        self.apply(_initialise)

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> list[Tensor]:
        """(B, L, width), there (B, L) -> (B, 1 + L, width) behind each block, class token first.

        The last is normalised.
        """
        tokens = torch.cat([self.summary.expand(len(tokens), -1, -1).to(tokens), tokens], dim=1)
        there = None if there is None else F.pad(there, (1, 0), value=True)
        states = []
        for block in self.blocks:
            tokens = block(tokens, there)
            states.append(tokens)
        states[-1] = self.norm(tokens)
        return states


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class Positions(nn.Module):
    """Learned codes of the places in a grid, added to a map; other sizes are interpolated."""

    def __init__(self, width: int, grid: Sequence[int]) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.zeros(1, width, *grid))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        return features + resized(self.codes, features.shape[2:])
