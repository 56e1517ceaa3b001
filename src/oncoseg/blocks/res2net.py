"""Res2Net: residual blocks whose channels see more and more (Gao 2019, arXiv 1904.01169)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.units import MEAN, POOL, unit

SHARE = 26 / 64  # of a stage's width, in every group of its blocks
GROUPS = 4
PAD: dict[int, Any] = {2: nn.ZeroPad2d, 3: nn.ZeroPad3d}


class Res2Block(nn.Module):
    """1 x 1, then groups of channels one after the other, then 1 x 1, round a shortcut.

    Each group but the last is convolved, after what the group before it found was added: so each
    sees a voxel further. In the `first` block of a stage, which may be strided, none is added and
    the last group is averaged; its shortcut is averaged and projected.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, stride: int, groups: int, *, first: bool
    ) -> None:
        super().__init__()
        self.inner, self.first, outputs = max(1, int(width * SHARE)), first, 4 * width
        self.enter = unit(dims, inputs, groups * self.inner, 1, bias=False)
        self.groups = nn.ModuleList(
            unit(dims, self.inner, self.inner, stride=stride, bias=False) for _ in range(groups - 1)
        )
        # Padded by itself: torch refuses to pool what is smaller than its kernel, padding or not.
        mean = nn.Sequential(PAD[dims](1), MEAN[dims](3, stride))
        self.rest = mean if first else nn.Identity()
        self.leave = unit(dims, groups * self.inner, outputs, 1, act="", bias=False)
        project = unit(dims, inputs, outputs, 1, act="", bias=False)
        halved = MEAN[dims](stride, stride, ceil_mode=True, count_include_pad=False)
        self.shortcut = nn.Sequential(halved, project) if first else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, 4 width, *S/stride)."""
        *parts, rest = self.enter(features).split(self.inner, dim=1)
        found: list[Tensor] = []
        for part, group in zip(parts, self.groups):
            found.append(group(part if self.first or not found else part + found[-1]))
        together = self.leave(torch.cat([*found, self.rest(rest)], dim=1))
        return F.relu(together + self.shortcut(features))


class Res2net(nn.Module):
    """Version 1b: a stem of three convolutions, pooling, and stages of `units` blocks.

    (B, inputs, *S) -> `widths` (4, 8, 16 ... times `width`) at S/4, S/8 and so on. Res2Net-50 has a
    width of 64 and 3, 4, 6 and 3 units.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, units: Sequence[int], groups: int = GROUPS
    ) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(
            unit(dims, inputs, half, stride=2, bias=False),
            unit(dims, half, half, bias=False),
            unit(dims, half, width, bias=False),
            POOL[dims](3, 2, 1),
        )
        planes = [width * 2**stage for stage in range(len(units))]
        self.widths = [4 * plane for plane in planes]
        before = [width, *self.widths]
        self.stages = nn.ModuleList(
            nn.Sequential(
                Res2Block(dims, before[stage], plane, 2 if stage else 1, groups, first=True),
                *(
                    Res2Block(dims, 4 * plane, plane, 1, groups, first=False)
                    for _ in range(count - 1)
                ),
            )
            for stage, (plane, count) in enumerate(zip(planes, units))
        )
        for module in self.modules():
            if isinstance(module, CONV[dims]):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features from a quarter of the resolution on, finest first."""
        return climbed(self.stages, self.stem(image))
