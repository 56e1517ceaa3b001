"""Barlow-Swin: three stages of shifted windows and a decoder of separable convolutions."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.units import levels, norm_of
from oncoseg.blocks.vit import Positions
from oncoseg.blocks.windows import PatchMerging, SwinBlock
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Barlow-Swin: Toward a Novel Siamese-Based Segmentation Architecture Using Swin-Transformers",
    2025,
    arxiv="2509.06885",
    reading="Sizes and order are those of the public code (without a licence), also windows that "
    "shift by one patch. Positions of other sizes are interpolated; 3-D is ours. In two "
    "minutes of a core it falls behind the U-Net on polyps and hippocampi (docs/networks) "
    "and is slow: after 200 steps it has 0.88 of four polyps by heart.",
)
PATCH, STAGES = 4, 3


class BarlowSwin(Network):
    """Patches of 4 voxels a side with learned positions, three stages of two blocks, a decoder.

    Widths double from `width`; windows are `window` patches a side and shift by one. The decoder
    doubles the size four times by repetition, twice with a skip; the last of `decoder` repeats.
    Published: `width=96,decoder=192x128x64x32`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        heads: int = 8,
        window: int = 4,
        decoder: tuple[int, ...] = (64, 48, 32, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        dims, sides = task.dims, (window,) * task.dims
        self.step = PATCH * 2 ** (STAGES - 1)
        self.widths = [width * 2**stage for stage in range(STAGES)]
        self.embed = CONV[dims](task.inputs, width, PATCH, PATCH)
        self.grid = tuple(math.ceil(size / self.step) * self.step // PATCH for size in task.patch)
        self.positions = Positions(width, self.grid)
        nn.init.uniform_(self.positions.codes, -0.05, 0.05)
        self.stages = nn.ModuleList(
            nn.Sequential(
                SwinBlock(wide, heads, sides, shifted=False),
                SwinBlock(wide, heads, sides, shifted=True, by=1),
            )
            for wide in self.widths
        )
        self.merge = nn.ModuleList(
            PatchMerging(wide, dims, norm=False) for wide in self.widths[:-1]
        )
        wide = levels(decoder, 4)
        skips = [*self.widths[-2::-1], 0, 0]
        self.decoder = nn.ModuleList(
            Separable(dims, before + skip, after, dropout)
            for (before, after), skip in zip(pairwise([self.widths[-1], *wide]), skips)
        )
        self.head = nn.Sequential(
            CONV[dims](wide[-1], task.outputs, 1), norm_of(dims, task.outputs, "batch")
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/4, 1/8 and 1/16; S is padded to multiples of 16."""
        features = self.positions(self.embed(padded(batch.image * batch.present, self.step)))
        features = self.stages[0](features.movedim(1, -1))
        pyramid = [features.movedim(-1, 1)]
        for merge, stage in zip(self.merge, list(self.stages)[1:]):
            features = stage(merge(features))
            pyramid.append(features.movedim(-1, 1))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1]
        for block, skip in zip(self.decoder, [*pyramid[-2::-1], None, None]):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(features if skip is None else torch.cat([features, skip], dim=1))
        return [fitted(self.head(features), batch.image)]


class Separable(nn.Module):
    """Two separable convolutions with norm, ReLU and dropout, round one of 1 x 1 with a norm."""

    def __init__(self, dims: int, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_separable(dims, inputs, width), *_separable(dims, width, width), nn.Dropout(dropout)
        )
        self.project = nn.Sequential(CONV[dims](inputs, width, 1), norm_of(dims, width, "batch"))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found: Tensor = self.project(features) + self.convolutions(features)
        return found


def _separable(dims: int, inputs: int, width: int) -> list[nn.Module]:
    """Each channel alone by a kernel of 3, then all of them by one of 1; norm and ReLU."""
    depthwise = CONV[dims](inputs, inputs, 3, padding=1, groups=inputs, bias=False)
    return [depthwise, CONV[dims](inputs, width, 1), norm_of(dims, width, "batch"), nn.ReLU()]
