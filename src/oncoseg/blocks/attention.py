"""Attention of convolutional networks: gates on skips, over positions, over channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.units import norm_of


class AttentionGate(nn.Module):
    """alpha = sigmoid(psi(relu(W_x x + W_g g))), and out = alpha x (Oktay 2018).

    `join` of `add` sums both, `concat` puts them side by side. Norms follow the 1 x 1 convolutions:
    `norm` that of psi, `within` the two before; "" is none.
    """

    def __init__(
        self,
        dims: int,
        skip: int,
        gate: int,
        inner: int,
        *,
        join: str = "add",
        norm: str = "batch",
        within: str = "",
    ) -> None:
        super().__init__()
        self.of_skip = _point(dims, skip, inner, within)
        self.of_gate = _point(dims, gate, inner, within)
        self.psi = _point(dims, inner * (2 if join == "concat" else 1), 1, norm)
        self.join = join

    def alpha(self, skip: Tensor, gate: Tensor) -> Tensor:
        """(B, skip, *S) and (B, gate, *S) -> (B, 1, *S) in (0, 1)."""
        both = self.of_skip(skip), self.of_gate(gate)
        joined = torch.cat(both, dim=1) if self.join == "concat" else both[0] + both[1]
        return torch.sigmoid(self.psi(F.relu(joined)))

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """(B, skip, *S) and (B, gate, *S) -> (B, skip, *S)."""
        return skip * self.alpha(skip, gate)


def _point(dims: int, inputs: int, width: int, norm: str) -> nn.Sequential:
    conv = CONV[dims](inputs, width, 1)
    return nn.Sequential(conv, norm_of(dims, width, norm)) if norm else nn.Sequential(conv)


class PositionAttention(nn.Module):
    """Every voxel looks at every other: gamma V softmax(Q^T K)^T + x, gamma 0 at first (Fu 2019).

    Queries and keys are `inner` wide. Takes memory with the square of the number of voxels.
    """

    def __init__(self, dims: int, width: int, inner: int = 0) -> None:
        super().__init__()
        inner = inner or max(1, width // 8)
        self.query, self.key = CONV[dims](width, inner, 1), CONV[dims](width, inner, 1)
        self.value = CONV[dims](width, width, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        query, key, value = (
            layer(features).flatten(2) for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        mixed = value @ weights.transpose(1, 2)
        return self.gamma * mixed.reshape(features.shape) + features


class ChannelAttention(nn.Module):
    """Every channel looks at every other: A = softmax(max(E) - E), E = X X^T (Fu 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S)."""
        flat = features.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        weights = torch.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1)
        return self.gamma * (weights @ flat).reshape(features.shape) + features


class SqueezeExcitation(nn.Module):
    """Channels are scaled by what is in them on average (Hu 2018)."""

    def __init__(self, width: int, ratio: int = 16, *, bias: bool = True) -> None:
        super().__init__()
        inner = max(1, width // ratio)
        self.narrow = nn.Linear(width, inner, bias=bias)
        self.widen = nn.Linear(inner, width, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        mean = features.flatten(2).mean(dim=2)
        scale = torch.sigmoid(self.widen(F.relu(self.narrow(mean))))
        return features * scale.reshape(*scale.shape, *(1,) * (features.ndim - 2))
