"""Stages of residual blocks, the first of which changes size and width in both of its branches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, ConvNormAct, ResidualBlock
from oncoseg.blocks.norm import NormAct


class Strided(nn.Module):
    """Two convolutions round a shortcut that is a strided 1 x 1 convolution, without a norm."""

    def __init__(self, dims: int, inputs: int, width: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.first = ConvNormAct(dims, inputs, width, stride)
        self.second = nn.Sequential(CONV[dims](width, width, 3, padding=1), NormAct(width, slope=1))
        self.project = CONV[dims](inputs, width, 1, tuple(stride))
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found: Tensor = self.act(self.second(self.first(features)) + self.project(features))
        return found


def strided_stage(
    dims: int, inputs: int, width: int, stride: Sequence[int], blocks: int
) -> nn.Sequential:
    """`blocks` residual blocks; (B, inputs, *S) -> (B, width, *S/stride)."""
    again = (ResidualBlock(dims, width, width) for _ in range(blocks - 1))
    return nn.Sequential(Strided(dims, inputs, width, stride), *again)
