"""Selective scans of an image along its axes, there and back: SS2D (Liu 2024, arXiv 2401.10166)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.scan import resumed


@dataclass(frozen=True)
class Route:
    """An order of voxels: raster over `axes`, the last of which runs fastest, or `back`."""

    axes: tuple[int, ...]
    back: bool = False

    def along(self, features: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, voxels)."""
        sequence = features.permute(0, 1, *(axis + 2 for axis in self.axes)).flatten(2)
        return sequence.flip(-1) if self.back else sequence

    def undone(self, sequence: Tensor, shape: Sequence[int]) -> Tensor:
        """Inverse of `along`; `shape` is *S."""
        forth = sequence.flip(-1) if self.back else sequence
        turned = forth.unflatten(-1, [int(shape[axis]) for axis in self.axes])
        places = [self.axes.index(axis) + 2 for axis in range(len(self.axes))]
        return turned.permute(0, 1, *places)


def crossed(dims: int) -> list[Route]:
    """Along rows and along columns, then both back; in 3-D each axis is the slowest of one."""
    turned = [tuple((start + axis) % dims for axis in range(dims)) for start in range(dims)]
    return [Route(axes, back) for back in (False, True) for axes in turned]


class Selection(nn.Module):
    """The selective scan with what it selects by: (B, width, L) -> the same, in float32 at least.

    Steps start between 0.001 and 0.1, decay rates at -1 .. -states.
    """

    def __init__(self, width: int, rank: int, states: int) -> None:
        super().__init__()
        self.sizes = [rank, states, states]
        self.select = nn.Linear(width, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, width)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))
        self.reset()

    def reset(self) -> None:
        """Draw weights as published, whatever was drawn before."""
        nn.init.kaiming_uniform_(self.select.weight, a=math.sqrt(5))
        nn.init.uniform_(self.step.weight, -(self.sizes[0] ** -0.5), self.sizes[0] ** -0.5)
        with torch.no_grad():
            steps = torch.empty_like(self.step.bias).uniform_(math.log(0.001), math.log(0.1)).exp()
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus gives `steps`

    def forward(self, sequence: Tensor) -> Tensor:
        """(B, width, L) -> (B, width, L); a place is told of those before it alone."""
        states = self.log_rate.shape[1]
        return self.after(sequence, sequence.new_zeros(*sequence.shape[:2], states))[0]

    def after(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same from a state (B, width, states) on, and the state that it ends in."""
        step, into, out = self.select(sequence.transpose(1, 2)).split(self.sizes, dim=-1)
        delta = F.softplus(self.step(step)).transpose(1, 2)
        into, out, rate = into.transpose(1, 2), out.transpose(1, 2), -torch.exp(self.log_rate)
        return resumed(sequence, delta, rate, into, out, self.skip, state)


class Ss2d(nn.Module):
    """Maps (B, *S, width) -> the same, in float32 at least.

    Twice as wide: a depth-wise convolution of 3, SiLU, a scan along each route with weights of its
    own, their sum, a norm; times a gate, SiLU.
    """

    def __init__(self, width: int, dims: int, *, states: int = 16) -> None:
        super().__init__()
        inner = 2 * width
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.convolve = CONV[dims](inner, inner, 3, padding=1, groups=inner)
        self.routes = crossed(dims)
        self.scans = nn.ModuleList(
            Selection(inner, math.ceil(width / 16), states) for _ in self.routes
        )
        self.norm = LayerNorm(inner)
        self.leave = nn.Linear(inner, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        with torch.autocast(features.device.type, enabled=False):
            exact = features.to(torch.promote_types(features.dtype, torch.float32))
            inner, gate = self.enter(exact).chunk(2, dim=-1)
            inner = F.silu(self.convolve(inner.movedim(-1, 1)))
            shape = inner.shape[2:]
            found = [
                route.undone(scan(route.along(inner)), shape)
                for route, scan in zip(self.routes, self.scans)
            ]
            total = self.norm(torch.stack(found).sum(0).movedim(1, -1))
            mixed: Tensor = self.leave(total * F.silu(gate))
        return mixed
