"""Queries that read an image: cross-attention, k-means clustering, small MLPs."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.heads import check_heads, joined, parted
from oncoseg.blocks.norm import LayerNorm


def tokens(features: Tensor) -> Tensor:
    """(B, C, *S) -> (B, voxels, C)."""
    return features.flatten(2).transpose(1, 2)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with GELU between them, and none behind the last.

    They start as wide as they were given: torch's own start lets the bias drown what queries differ
    in, and then it takes long until they part.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers[:-1])


class QueryLayer(nn.Module):
    """Queries read the image, then (with `among`) one another, then think: pre-norm, residual.

    Without `among` the queries do not see each other: what one says does not depend on the rest.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
        among: bool = False,
        hard: bool = False,
    ) -> None:
        super().__init__()
        self.before = nn.ModuleList(LayerNorm(width) for _ in range(2 + among))
        self.read: nn.Module = ClusterAttention(width) if hard else Attention(width, heads, dropout)
        self.others = Attention(width, heads, dropout) if among else None
        self.think = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, image: Tensor, places: Tensor) -> Tensor:
        """Queries (B, N, width), image tokens (B, T, width), positions (T, width) -> queries."""
        read = self.read(self.before[0](queries), image + places, image)
        queries = queries + self.drop(read)
        if self.others is not None:
            mine = self.before[2](queries)
            queries = queries + self.drop(self.others(mine, mine, mine))
        thought: Tensor = queries + self.drop(self.think(self.before[1](queries)))
        return thought


class Attention(nn.Module):
    """Multi-head attention of `queries` on `keys` and their `values`, through `inner` numbers."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, inner: int = 0) -> None:
        super().__init__()
        inner = inner or width
        check_heads(heads, inner)
        self.heads, self.dropout = heads, dropout
        self.query, self.key = nn.Linear(width, inner), nn.Linear(width, inner)
        self.value, self.out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, N, width), (B, T, width), (B, T, width) -> (B, N, width)."""
        query, key, value = (
            parted(part, self.heads)
            for part in (self.query(queries), self.key(keys), self.value(values))
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        found: Tensor = self.out(joined(mixed))
        return found


class ClusterAttention(nn.Module):
    """k-means as attention: every voxel goes to its best query, which takes their mean.

    The assignment is one-hot; its gradient is that of the softmax over queries (straight-through).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def assign(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, N, width), (B, T, width) -> (B, N, T), for every voxel 1 at one query."""
        affinity = self.query(queries) @ self.key(keys).transpose(1, 2)
        soft = (affinity.float() / queries.shape[2] ** 0.5).softmax(dim=1)
        hard = F.one_hot(soft.argmax(dim=1), soft.shape[1]).transpose(1, 2).to(soft.dtype)
        return hard + soft - soft.detach() if self.training else hard

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, N, width), (B, T, width), (B, T, width) -> (B, N, width), 0 of an empty cluster."""
        members = self.assign(queries, keys)
        count = members.detach().sum(dim=2, keepdim=True).clamp_min(1)
        found: Tensor = self.out((members @ self.value(values).to(members.dtype)) / count)
        return found
