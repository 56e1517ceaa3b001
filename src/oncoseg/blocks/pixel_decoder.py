"""A convolutional encoder and a decoder that ends in features of every voxel, not in logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from oncoseg.blocks.convs import TRANSPOSED, stage
from oncoseg.blocks.pyramid import climbed, descended


class ConvEncoder(nn.ModuleList):
    """A stage a width, each of `blocks` convolutions, the first of them strided."""

    def __init__(
        self, inputs: int, widths: Sequence[int], strides: Sequence[Sequence[int]], blocks: int
    ) -> None:
        dims = len(strides[0])
        wide = [inputs, *widths]
        super().__init__(
            stage(dims, wide[level], width, stride, blocks)
            for level, (width, stride) in enumerate(zip(widths, [(1,) * dims, *strides]))
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """(B, inputs, *S) -> [(B, widths[i], *S / strides up to i)], finest first."""
        return climbed(self, features)


class PixelDecoder(nn.Module):
    """Up-sampling with skip connections: a pyramid of the same widths that has seen the whole."""

    def __init__(
        self, widths: Sequence[int], strides: Sequence[Sequence[int]], blocks: int
    ) -> None:
        super().__init__()
        dims = len(strides[0])
        self.up = nn.ModuleList(
            TRANSPOSED[dims](coarse, fine, tuple(stride), tuple(stride))
            for fine, coarse, stride in zip(widths[:-1], widths[1:], strides)
        )
        self.stages = nn.ModuleList(
            stage(dims, 2 * fine, fine, (1,) * dims, blocks) for fine in widths[:-1]
        )

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """[(B, widths[i], *S_i)] -> as many, finest first; the coarsest is the encoder's own."""
        found = [features for _, features in descended(pyramid, self.up, self.stages)]
        return found[::-1]
