"""The blocks of UNETR's decoder: residual convolutions with instance norms that learn nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV, NORM, TRANSPOSED
from oncoseg.blocks.resize import fitted


class UnetrBlock(nn.Module):
    """Two convolutions of 3 with norms round a shortcut, which is projected where widths differ."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        self.first = CONV[dims](inputs, width, 3, padding=1, bias=False)
        self.second = CONV[dims](width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(NORM[dims](width) for _ in range(3))
        self.project = CONV[dims](inputs, width, 1, bias=False) if inputs != width else None

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found = F.leaky_relu(self.norms[0](self.first(features)), 0.01)
        found = self.norms[1](self.second(found))
        shortcut = features
        if self.project is not None:
            shortcut = self.norms[2](self.project(features))
        return F.leaky_relu(found + shortcut, 0.01)


class UnetrUp(nn.Module):
    """Twice as large by a transposed convolution, the skip beside it, then a block."""

    def __init__(self, dims: int, coarse: int, width: int) -> None:
        super().__init__()
        self.up = TRANSPOSED[dims](coarse, width, 2, 2, bias=False)
        self.block = UnetrBlock(dims, 2 * width, width)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(B, coarse, *S/2) and (B, width, *S) -> (B, width, *S)."""
        above = fitted(self.up(features), skip)
        found: Tensor = self.block(torch.cat([above, skip], dim=1))
        return found
