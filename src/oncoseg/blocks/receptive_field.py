"""Receptive field blocks: one place seen through kernels of several sizes (Liu 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.units import unit


class ReceptiveField(nn.Module):
    """Branches of 1 x 1, then a line of length k along each axis, then 3 x 3 dilated by k.

    k is 3, 5 and 7; a branch more has 1 x 1 alone. What they find side by side is convolved, added
    to a projection of what came in, and goes through a ReLU. Every convolution has a norm and none
    a ReLU of its own, as in PraNet (arXiv 2006.11392).
    """

    def __init__(
        self, dims: int, inputs: int, width: int, lengths: tuple[int, ...] = (3, 5, 7)
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_linear(dims, inputs, width, 1)])
        for length in lengths:
            lines = [
                _linear(
                    dims, width, width, [length if axis == place else 1 for axis in range(dims)]
                )
                for place in reversed(range(dims))
            ]
            wide = unit(dims, width, width, dilation=length, act="", bias=False)
            self.branches.append(nn.Sequential(_linear(dims, inputs, width, 1), *lines, wide))
        self.joined = _linear(dims, width * (len(lengths) + 1), width, 3)
        self.project = _linear(dims, inputs, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found = torch.cat([branch(features) for branch in self.branches], dim=1)
        return F.relu(self.joined(found) + self.project(features))


def _linear(dims: int, inputs: int, width: int, kernel: list[int] | int) -> nn.Sequential:
    return unit(dims, inputs, width, kernel, act="", bias=False)
