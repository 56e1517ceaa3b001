"""Inverted bottlenecks: few channels between blocks, many within (Sandler 2018, Tan 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.units import BATCH

EPS = 1e-3


class Mbconv(nn.Module):
    """1 x 1 to `expansion` times the channels, each convolved alone, excited, 1 x 1 to `width`.

    Norms follow the convolutions, SiLU all of them but the last. Channels are excited by what a
    share `squeeze` of those that came in says; 0 leaves that out. What came in is added where size
    and channels are the same.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        expansion: int = 6,
        squeeze: float = 0.25,
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.widen = conv_norm(dims, inputs, inner, 1) if expansion > 1 else None
        self.each = conv_norm(dims, inner, inner, kernel, stride, groups=inner)
        narrow = max(1, int(inputs * squeeze))
        self.squeeze = CONV[dims](inner, narrow, 1) if squeeze else None
        self.excite = CONV[dims](narrow, inner, 1) if squeeze else None
        self.narrow = conv_norm(dims, inner, width, 1)
        self.kept = stride == 1 and inputs == width

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found = features if self.widen is None else F.silu(self.widen(features))
        found = F.silu(self.each(found))
        if self.squeeze is not None and self.excite is not None:
            mean = found.mean(dim=tuple(range(2, found.ndim)), keepdim=True)
            found = found * torch.sigmoid(self.excite(F.silu(self.squeeze(mean))))
        found = self.narrow(found)
        return found + features if self.kept else found


def conv_norm(
    dims: int, inputs: int, width: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution and its norm; (B, inputs, *S) -> (B, width, *S/stride), `stride` dividing S.

    Odd paddings lie behind, as in the code that published weights are of.
    """
    before = (kernel - stride) // 2
    after = kernel - stride - before
    pad = nn.ConstantPad2d if dims == 2 else nn.ConstantPad3d
    conv = CONV[dims](inputs, width, kernel, stride, groups=groups, bias=False)
    sides: tuple[int, ...] = (before, after) * dims
    return nn.Sequential(pad(sides, 0.0), conv, BATCH[dims](width, eps=EPS))  # type: ignore[arg-type]
