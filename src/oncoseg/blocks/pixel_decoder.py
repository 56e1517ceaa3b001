"""A convolutional encoder and a decoder that ends in features of every voxel, not in logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import TRANSPOSED, ConvNormAct
from oncoseg.blocks.pyramid import climbed


class ConvEncoder(nn.ModuleList):
    """A stage a width, each of `blocks` convolutions, the first of them strided."""

    def __init__(
        self, inputs: int, widths: Sequence[int], strides: Sequence[Sequence[int]], blocks: int
    ) -> None:
        dims = len(strides[0])
        wide = [inputs, *widths]
        super().__init__(
            _stage(dims, wide[level], width, stride, blocks)
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
            _stage(dims, 2 * fine, fine, (1,) * dims, blocks) for fine in widths[:-1]
        )

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """[(B, widths[i], *S_i)] -> as many, finest first; the coarsest is the encoder's own."""
        decoded = [pyramid[-1]]
        for level in reversed(range(len(self.up))):
            larger = self.up[level](decoded[0])
            # Up-sampling overshoots where an odd size had been halved.
            box: Any = (..., *(slice(0, size) for size in pyramid[level].shape[2:]))
            joined = torch.cat([larger[box], pyramid[level]], dim=1)
            decoded.insert(0, self.stages[level](joined))
        return decoded


def _stage(dims: int, inputs: int, width: int, stride: Sequence[int], blocks: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNormAct(dims, inputs, width, stride),
        *(ConvNormAct(dims, width, width) for _ in range(blocks - 1)),
    )
