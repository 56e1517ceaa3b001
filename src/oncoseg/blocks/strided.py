"""Residual blocks whose shortcut is a strided convolution, and stages that begin with one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, NORM, ResidualBlock


class StridedBlock(ResidualBlock):
    """Two convolutions round a shortcut, strided and projected with a norm where shape changes."""

    def projection(self, dims: int, inputs: int, width: int) -> nn.Module:
        """A strided 1 x 1 convolution and a norm."""
        if inputs == width and max(self.stride) == 1:
            return nn.Identity()
        conv = CONV[dims](inputs, width, 1, self.stride, bias=False)
        return nn.Sequential(conv, NORM[dims](width, affine=True))

    def shortcut(self, features: Tensor) -> Tensor:
        """All of them: the projection is strided."""
        return features


class Strided(StridedBlock):
    """The same, always projected and without a norm (STU-Net)."""

    def projection(self, dims: int, inputs: int, width: int) -> nn.Module:
        """A strided 1 x 1 convolution."""
        found: nn.Module = CONV[dims](inputs, width, 1, self.stride)
        return found


def strided_stage(
    dims: int, inputs: int, width: int, stride: Sequence[int], blocks: int
) -> nn.Sequential:
    """`blocks` residual blocks; (B, inputs, *S) -> (B, width, *S/stride)."""
    again = (ResidualBlock(dims, width, width) for _ in range(blocks - 1))
    return nn.Sequential(Strided(dims, inputs, width, stride), *again)
