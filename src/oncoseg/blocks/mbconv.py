"""The mobile inverted bottleneck: wide in the middle, where each channel is convolved alone."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.units import unit


class MbConv(nn.Module):
    """1 x 1 to `expand` times the width, depth-wise convolution of 3, 1 x 1 back, linear.

    Each has a norm; with a stride of 1, equal widths and `shortcut` the input is added (Sandler
    2018, arXiv 1801.04381).
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        *,
        expand: int,
        stride: tuple[int, ...] = (),
        norm: str = "batch",
        act: str = "relu",
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        inner, step = expand * inputs, stride or (1,) * dims
        self.wide = unit(dims, inputs, inner, 1, norm=norm, act=act, bias=False)
        self.alone = unit(
            dims, inner, inner, stride=step, groups=inner, norm=norm, act=act, bias=False
        )
        self.narrow = unit(dims, inner, width, 1, norm=norm, act="", bias=False)
        self.shortcut = shortcut and max(step) == 1 and inputs == width

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found: Tensor = self.narrow(self.alone(self.wide(features)))
        return features + found if self.shortcut else found
