"""Attention whose cost grows with the number of tokens: over places and over channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.heads import check_heads
from oncoseg.blocks.norm import LayerNorm


class EfficientAttention(nn.Module):
    """softmax(Q over channels) (softmax(K over tokens)^T V), projected (Shen 2021); one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        context = torch.softmax(key, dim=1).transpose(1, 2) @ value
        found: Tensor = self.project(torch.softmax(query, dim=-1) @ context)
        return found


class TransposeAttention(nn.Module):
    """Channels of a head attend to one another: softmax(t q k^T) v, projected (El-Nouby 2021).

    q and k have length 1 over the tokens; t is learned for each head.
    """

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        check_heads(heads, width)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        query, key, value = (
            self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1).unbind(0)
        )
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-1, -2)
        mixed = torch.softmax(scores * self.temperature, dim=-1) @ value
        found: Tensor = self.project(mixed.permute(0, 3, 1, 2).flatten(2))
        return found


class MixFfn(nn.Module):
    """Two linear maps with, between them, norm(x + a depthwise convolution of x) and GELU."""

    def __init__(self, dims: int, width: int, expansion: int = 4) -> None:
        super().__init__()
        inner = expansion * width
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)
        self.depthwise = CONV[dims](inner, inner, 3, padding=1, groups=inner)
        self.norm = LayerNorm(inner)

    def forward(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """(B, N, width), places of a map of this shape in row-major order, -> (B, N, width)."""
        inner = self.first(tokens)
        image = inner.transpose(1, 2).unflatten(2, tuple(shape))
        near = self.depthwise(image).flatten(2).transpose(1, 2)
        found: Tensor = self.second(F.gelu(self.norm(near + inner)))
        return found


class DualBlock(nn.Module):
    """Attention over places, then over channels, each behind a norm and before a `MixFfn`."""

    def __init__(self, dims: int, width: int, heads: int = 8) -> None:
        super().__init__()
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(4))
        self.places, self.channels = EfficientAttention(width), TransposeAttention(width, heads)
        self.first, self.second = MixFfn(dims, width), MixFfn(dims, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        shape, tokens = features.shape[1:-1], features.flatten(1, -2)
        tokens = tokens + self.places(self.norms[0](tokens))
        tokens = tokens + self.first(self.norms[1](tokens), shape)
        tokens = tokens + self.channels(self.norms[2](tokens))
        tokens = tokens + self.second(self.norms[3](tokens), shape)
        return tokens.unflatten(1, shape)
