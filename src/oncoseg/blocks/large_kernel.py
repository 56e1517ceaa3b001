"""A large kernel from small ones: depthwise, depthwise with gaps, across channels (Guo 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.convs import CONV


class LargeKernelAttention(nn.Module):
    """x times what kernels of 5, of 7 with gaps of 3, and of 1 make of it: 23 voxels a side."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.kernel = nn.Sequential(
            CONV[dims](width, width, 5, padding=2, groups=width),
            CONV[dims](width, width, 7, padding=9, groups=width, dilation=3),
            CONV[dims](width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        found: Tensor = features * self.kernel(features)
        return found
