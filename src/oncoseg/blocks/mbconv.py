"""The mobile inverted bottleneck: wide in the middle, where each channel is convolved alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.units import unit


class MbConv(nn.Module):
    """1 x 1 to `expand` times the width, depth-wise convolution, 1 x 1 back, linear.

    Each has a norm; with a stride of 1, equal widths and `shortcut` the input is added (Sandler
    2018, arXiv 1801.04381). With `squeeze` the channels in the middle are excited by what so large
    a share of `inputs` says of their means. `behind` pads as EfficientNet does (see `pad_behind`).
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        *,
        expand: int,
        kernel: int = 3,
        stride: tuple[int, ...] = (),
        norm: str = "batch",
        act: str = "relu",
        squeeze: float = 0.0,
        shortcut: bool = True,
        behind: bool = False,
    ) -> None:
        super().__init__()
        inner, step = expand * inputs, stride or (1,) * dims
        wide = unit(dims, inputs, inner, 1, norm=norm, act=act, bias=False)
        self.wide = wide if expand > 1 else nn.Identity()
        alone = unit(
            dims, inner, inner, kernel, stride=step, groups=inner, norm=norm, act=act, bias=False
        )
        self.alone = pad_behind(alone, kernel, step) if behind else alone
        self.excite = Excite(dims, inner, int(inputs * squeeze)) if squeeze else nn.Identity()
        self.narrow = unit(dims, inner, width, 1, norm=norm, act="", bias=False)
        self.shortcut = shortcut and max(step) == 1 and inputs == width

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found: Tensor = self.narrow(self.excite(self.alone(self.wide(features))))
        return features + found if self.shortcut else found


class Excite(nn.Module):
    """Squeeze and excitation with SiLU; (B, width, *S) -> the same."""

    def __init__(self, dims: int, width: int, inner: int) -> None:
        super().__init__()
        self.squeeze = CONV[dims](width, max(1, inner), 1)
        self.widen = CONV[dims](max(1, inner), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        mean = features.mean(dim=tuple(range(2, features.ndim)), keepdim=True)
        return features * torch.sigmoid(self.widen(F.silu(self.squeeze(mean))))


def pad_behind(layer: nn.Sequential, kernel: int, stride: Sequence[int]) -> nn.Sequential:
    """A unit of a convolution padded so that what is odd lies behind, where `stride` divides S."""
    before = [(kernel - step) // 2 for step in stride]
    sides = [(low, kernel - step - low) for low, step in zip(before, stride)]
    pad = nn.ConstantPad2d if len(sides) == 2 else nn.ConstantPad3d
    flat = tuple(side for pair in reversed(sides) for side in pair)
    layer[0].padding = (0,) * len(sides)  # type: ignore[assignment]
    return nn.Sequential(pad(flat, 0.0), layer)  # type: ignore[arg-type]
