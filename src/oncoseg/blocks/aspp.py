"""Dilated convolutions side by side: one place seen at several ranges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.units import unit


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: a convolution a rate, side by side (Chen 2017).

    A rate of 0 is a convolution of 1 x 1. With `mean` the mean over all voxels is one more branch.
    Branches are convolution, norm and, with `act`, activation; then they are summed, or with
    `join` of `concat` put side by side, and go through a convolution of 1 x 1.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        rates: Sequence[int],
        *,
        norm: str = "batch",
        act: str = "relu",
        join: str = "concat",
        mean: bool = False,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            unit(dims, inputs, width, 3 if rate else 1, dilation=max(1, rate), norm=norm, act=act)
            for rate in rates
        )
        # Without a norm: there is one value a channel, of which a norm would make nothing.
        self.mean = unit(dims, inputs, width, 1, norm="", act=act) if mean else None
        count = len(self.branches) + int(mean)
        self.join = join
        self.joined = CONV[dims](width * (count if join == "concat" else 1), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found = [branch(features) for branch in self.branches]
        if self.mean is not None:
            axes = tuple(range(2, features.ndim))
            mean = self.mean(features.mean(dim=axes, keepdim=True))
            found.append(mean.expand(-1, -1, *features.shape[2:]))
        together = torch.cat(found, 1) if self.join == "concat" else torch.stack(found).sum(0)
        joined: Tensor = self.joined(together)
        return joined
