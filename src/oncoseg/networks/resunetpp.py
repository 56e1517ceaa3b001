"""ResUNet++: residual blocks with squeeze and excitation, pyramids of dilations, gated skips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.aspp import Aspp
from oncoseg.blocks.attention import SqueezeExcitation
from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.units import POOL, levels, norm_of
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "ResUNet++: An Advanced Architecture for Medical Image Segmentation",
    2019,
    arxiv="1911.07067",
    reading="Blocks are those of the authors' public code; strides follow the plan, and 3-D is "
    "ours. The published network has three levels of strides. In two minutes of a core it "
    "falls behind the U-Net on polyps, nuclei and hippocampi (docs/networks) and is slow: "
    "after 200 steps it has 0.75 of four polyps by heart.",
)
RATES = (6, 12, 18, 1)


class Resunetpp(Network):
    """Blocks of norm, ReLU, convolution, twice, each but the first strided by `task.strides`.

    Each ends in squeeze and excitation. The last of `widths` is that of the bridge, dilations side
    by side, and repeats; a block of the decoder is as wide as the level below it. What comes from
    below is scaled by what the pooled skip and it say together.
    """

    def __init__(self, task: Task, *, widths: tuple[int, ...] = (16, 32, 64, 128, 256)) -> None:
        super().__init__()
        dims, one = task.dims, (1,) * task.dims
        *self.widths, wide = levels(widths, len(task.strides) + 2)
        below = [*self.widths[2:], wide]
        fine = list(zip(self.widths[:-1], self.widths[1:], below, task.strides))
        self.stem = Residual(dims, task.inputs, self.widths[0], one, first=True)
        self.encoder = nn.ModuleList(
            Residual(dims, before, after, step) for before, after, _, step in fine
        )
        settings: dict[str, Any] = {"act": "", "join": "sum"}
        self.bridge = Aspp(dims, self.widths[-1], wide, RATES, **settings)
        self.gates = nn.ModuleList(Gate(dims, skip, under, step) for skip, _, under, step in fine)
        self.decoder = nn.ModuleList(
            Residual(dims, skip + under, width, one) for skip, width, under, _ in fine
        )
        self.last = Aspp(dims, self.widths[1], self.widths[0], RATES, **settings)
        self.head = CONV[dims](self.widths[0], task.outputs, 1)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed([self.stem, *self.encoder], batch.image * batch.present)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S)."""
        features = self.bridge(pyramid[-1])
        for level in reversed(range(len(self.decoder))):
            skip = pyramid[level]
            gated = self.gates[level](skip, features)
            above = F.interpolate(gated, size=skip.shape[2:], mode="nearest")
            features = self.decoder[level](torch.cat([above, skip], dim=1))
        return [self.head(self.last(features))]


class Residual(nn.Module):
    """Two convolutions round one of 1 x 1 with a norm, then squeeze and excitation.

    Norm and ReLU stand before each of the two; of the `first` block before the second alone.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, stride: Sequence[int], *, first: bool = False
    ) -> None:
        super().__init__()
        one = (1,) * dims
        start = [CONV[dims](inputs, width, 3, padding=1)] if first else []
        self.first = nn.Sequential(*start) if first else before(dims, inputs, width, stride)
        self.second = before(dims, width, width, one)
        self.project = nn.Sequential(
            CONV[dims](inputs, width, 1, tuple(stride)), norm_of(dims, width, "batch")
        )
        self.excite = SqueezeExcitation(width, 8, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found = self.second(self.first(features)) + self.project(features)
        excited: Tensor = self.excite(found)
        return excited


class Gate(nn.Module):
    """Features from below, scaled by what they and the pooled skip say together."""

    def __init__(self, dims: int, skip: int, below: int, stride: Sequence[int]) -> None:
        super().__init__()
        one = (1,) * dims
        pool = POOL[dims](tuple(stride), ceil_mode=True)
        self.of_skip = nn.Sequential(before(dims, skip, below, one), pool)
        self.of_below = before(dims, below, below, one)
        self.joined = before(dims, below, below, one)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """(B, skip, *S) and (B, below, *S/stride) -> (B, below, *S/stride)."""
        found: Tensor = self.joined(self.of_skip(skip) + self.of_below(below)) * below
        return found


def before(dims: int, inputs: int, width: int, stride: Sequence[int]) -> nn.Sequential:
    """Norm and ReLU before a convolution of kernel 3."""
    conv = CONV[dims](inputs, width, 3, tuple(stride), 1)
    return nn.Sequential(norm_of(dims, inputs, "batch"), nn.ReLU(), conv)
