"""Cross-stage blocks and fast pyramid pooling, as one-stage detectors have them (YOLOv8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.units import POOL, unit


def silu(dims: int, inputs: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, SiLU."""
    return unit(dims, inputs, width, kernel, stride=stride, act="silu", bias=False)


class C2f(nn.Module):
    """Half of the channels goes through `depth` blocks; all that was found on the way is joined.

    A block is two convolutions of 3, round a shortcut where `residual`.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, depth: int = 1, *, residual: bool = False
    ) -> None:
        super().__init__()
        half, self.residual = width // 2, residual
        self.enter = silu(dims, inputs, 2 * half, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(silu(dims, half, half, 3), silu(dims, half, half, 3))
            for _ in range(depth)
        )
        self.join = silu(dims, (2 + depth) * half, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found = list(self.enter(features).chunk(2, dim=1))
        for block in self.blocks:
            after = block(found[-1])
            found.append(found[-1] + after if self.residual else after)
        joined: Tensor = self.join(torch.cat(found, dim=1))
        return joined


class Sppf(nn.Module):
    """What the largest values of 5, 9 and 13 voxels a side say beside the features."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.enter = silu(dims, width, width // 2, 1)
        self.pool = POOL[dims](5, 1, 2)
        self.join = silu(dims, 4 * (width // 2), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        found = [self.enter(features)]
        for _ in range(3):
            found.append(self.pool(found[-1]))
        joined: Tensor = self.join(torch.cat(found, dim=1))
        return joined
