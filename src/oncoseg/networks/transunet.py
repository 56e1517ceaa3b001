"""TransUNet: convolutions, a vision transformer over what they found, a cascaded decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.resize import doubled, fitted, padded
from oncoseg.blocks.resnet_v2 import ResnetV2
from oncoseg.blocks.units import levels, unit
from oncoseg.blocks.vit import Positions, VitBlock
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation",
    2021,
    arxiv="2102.04306",
    reading="As in the public code; its pooling pads, so that no skip has to be filled up. Weights "
    "start anew, where the paper's come from ImageNet; 3-D is ours.",
)
STEP = 16  # voxels of a token along each axis


class Transunet(Network):
    """A ResNet-v2 of `units` to a sixteenth of the size, then `depth` blocks of `dim` over tokens.

    Tokens have learned positions, of the plan's patch; those of other sizes are interpolated. The
    decoder goes up from the transformer in four steps of two, with a skip at three of them.
    Published (R50-ViT-B/16):
    `width=64,units=3x4x9,dim=768,depth=12,heads=12,decoder=512x256x128x64x16`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        units: tuple[int, ...] = (2, 2, 2),
        dim: int = 192,
        depth: int = 4,
        heads: int = 6,
        decoder: tuple[int, ...] = (128, 64, 32, 16, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(units) != 3:
            raise BadOption(f"Transunet takes three units, not {units}")
        dims = task.dims
        self.convolutions = ResnetV2(dims, task.inputs, width, units)
        self.widths = [*self.convolutions.widths[:3], dim]
        self.embed = CONV[dims](self.convolutions.widths[3], dim, 1)
        self.grid = tuple(math.ceil(size / STEP) for size in task.patch)
        self.positions = Positions(dim, self.grid)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(VitBlock(dim, heads, 4, dropout) for _ in range(depth)))
        self.norm = LayerNorm(dim, eps=1e-6)
        wide = levels(decoder, 5)
        self.enter = unit(dims, dim, wide[0], bias=False)
        skips = [*self.widths[2::-1], 0]
        self.decoder = nn.ModuleList(
            nn.Sequential(
                unit(dims, before + skip, after, bias=False), unit(dims, after, after, bias=False)
            )
            for before, skip, after in zip(wide, skips, wide[1:])
        )
        self.head = CONV[dims](wide[-1], task.outputs, 3, padding=1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8 and, of the transformer, 1/16; S is padded to 16."""
        image = padded(batch.image * batch.present, STEP)
        *skips, features = self.convolutions(image)
        features = self.embed(features)
        tokens = self.dropout(self.positions(features).flatten(2).transpose(1, 2))
        found = self.norm(self.blocks(tokens)).transpose(1, 2)
        return [*skips, found.reshape(features.shape)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = self.enter(pyramid[-1])
        for block, skip in zip(self.decoder, [*pyramid[2::-1], None]):
            features = doubled(features, corners=True)
            features = block(features if skip is None else torch.cat([features, skip], dim=1))
        return [fitted(self.head(features), batch.image)]
