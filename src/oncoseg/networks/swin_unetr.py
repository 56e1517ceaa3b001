"""Swin UNETR: a transformer of shifted windows, and a decoder of residual convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.unetr import UnetrBlock, UnetrUp
from oncoseg.blocks.windows import PatchMerging, SwinStage
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images",
    2022,
    arxiv="2201.01266",
    reading="Sizes are halved five times, whatever the plan; the image is padded to multiples of "
    "32, at least to 64 somewhere. Neighbours are merged in their natural order. In two "
    "minutes of a core it falls behind the U-Net on polyps and hippocampi (docs/networks), "
    "since its steps are fewer: after as many, the U-Net has about as much on polyps.",
)
DEPTHS, HEADS = (2, 2, 2, 2), (3, 6, 12, 24)


class SwinUnetr(Network):
    """Patches of 2 voxels a side, four stages of two blocks; widths double from `width`.

    `window` is the side of a window. Before a skip is used its features are normalised, and go
    through a residual block at all scales but the last but one. Published: `width=48`.
    """

    def __init__(self, task: Task, *, width: int = 24, window: int = 7) -> None:
        super().__init__()
        if width % HEADS[0]:
            raise BadOption(f"SwinUnetr takes a width that {HEADS[0]} divides, not {width}")
        dims, sides = task.dims, (window,) * task.dims
        wide = [width * 2**stage for stage in range(len(DEPTHS) + 1)]
        self.widths = [width, *wide]
        self.embed = CONV[dims](task.inputs, width, 2, 2)
        self.stages = nn.ModuleList(
            SwinStage(size, depth, heads, sides) for size, depth, heads in zip(wide, DEPTHS, HEADS)
        )
        self.merge = nn.ModuleList(PatchMerging(size, dims) for size in wide[:-1])
        inputs = [task.inputs, *wide]
        self.skips = nn.ModuleList(
            nn.Identity() if level == len(wide) - 1 else UnetrBlock(dims, before, after)
            for level, (before, after) in enumerate(zip(inputs, self.widths))
        )
        pairs = list(zip(self.widths[:-1], self.widths[1:]))
        self.up = nn.ModuleList(UnetrUp(dims, coarse, fine) for fine, coarse in pairs)
        self.head = CONV[dims](width, task.outputs, 1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^i), finest first; S is padded to multiples of 32."""
        least = 2 ** (len(DEPTHS) + 1)
        image = padded(batch.image * batch.present, least, several=True)
        features = self.embed(image).movedim(1, -1)
        found = [image, normalised(features)]
        for stage, merge in zip(self.stages, self.merge):
            features = merge(stage(features))
            found.append(normalised(features))
        return [skip(each) for skip, each in zip(self.skips, found)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1]
        for level in reversed(range(len(self.up))):
            features = self.up[level](features, pyramid[level])
        return [fitted(self.head(features), batch.image)]


def normalised(features: Tensor) -> Tensor:
    """(B, *S, C) -> (B, C, *S), each voxel with mean 0 and variance 1 over its channels."""
    return F.layer_norm(features, features.shape[-1:]).movedim(-1, 1)
