"""Mamba along several routes through one image: what enters and leaves is shared, scans differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.ss2d import Route, Selection

KERNEL = 4


def slicewise(dims: int) -> list[Route]:
    """Slice after slice, and across slices first; then both back. The last axis is of slices."""
    axes = tuple(range(dims))
    within, across = (axes[-1], *axes[:-1]), axes
    return [Route(within), Route(within, back=True), Route(across), Route(across, back=True)]


class RoutedMamba(nn.Module):
    """(B, width, *S) -> the same, normalised before, in float32 at least; no shortcut.

    Along each route a causal convolution over 4 voxels, SiLU and a selective scan, all twice as
    wide, times a gate; the sum over routes leaves. With `shared`, all routes have one scan.
    """

    def __init__(
        self, width: int, routes: Sequence[Route], *, states: int = 16, shared: bool = False
    ) -> None:
        super().__init__()
        inner, count = 2 * width, 1 if shared else len(routes)
        self.routes, self.inner, self.states = list(routes), inner, states
        self.norm, self.enter = LayerNorm(width), nn.Linear(width, 2 * inner, bias=False)
        self.convolve = nn.ModuleList(
            nn.Conv1d(inner, inner, KERNEL, padding=KERNEL - 1, groups=inner) for _ in range(count)
        )
        self.scans = nn.ModuleList(
            Selection(inner, math.ceil(width / 16), states) for _ in range(count)
        )
        self.leave = nn.Linear(inner, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        none = torch.zeros(len(features), self.inner, self.states, device=features.device)
        return self.after(features, none)[0]

    def after(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same, every scan from one state on; and the mean of the states they end in.

        States are (B, 2 width, states).
        """
        with torch.autocast(features.device.type, enabled=False):
            exact = features.movedim(1, -1).to(self.leave.weight.dtype)
            inner, gate = self.enter(self.norm(exact)).movedim(-1, 1).chunk(2, dim=1)
            start, shape = state.to(inner.dtype), inner.shape[2:]
            total, ends = torch.zeros_like(inner), []
            for place, route in enumerate(self.routes):
                own = place % len(self.scans)
                sequence = route.along(inner)
                causal = F.silu(self.convolve[own](sequence)[..., : sequence.shape[-1]])
                found, end = self.scans[own].after(causal, start)  # type: ignore[operator]
                total = total + route.undone(found, shape)
                ends.append(end)
            mixed: Tensor = self.leave((total * F.silu(gate)).movedim(1, -1)).movedim(-1, 1)
        return mixed, torch.stack(ends).mean(0)
