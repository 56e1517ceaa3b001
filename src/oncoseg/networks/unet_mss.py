"""U-Net MSS: a U-Net that repeats voxels on its way up, supervised at full size at three scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.units import POOL, levels, twice, unit
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "DS6, Deformation-Aware Semi-Supervised Learning: Application to Small Vessel Segmentation "
    "with Noisy Training Data",
    2022,
    doi="10.3390/jimaging8100259",
    reading="Widths, pooling and scales are those of the public code (GPL-3; written anew), leaky "
    "ReLU that of SPOCKMIP (arXiv 2407.08655), which trains it. Coarser heads are 1 x 1 "
    "convolutions; there they end in a ReLU, which cannot say that a voxel is background. "
    "Their copies under deformation are no part of this. Pooling follows the plan; 2-D is "
    "ours. In two minutes of a core it falls behind the U-Net on polyps (docs/networks), "
    "but learns four polyps by heart.",
)
HEADS = 3


class UnetMss(Network):
    """Two convolutions a stage, pooling by `task.strides`; up by repeated voxels and one more.

    Coarser logits are brought to full size by repeating voxels, so that thin vessels are compared
    where they are. The last of `widths` repeats. Published: `widths=64x128x256x512x1024`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256),
        norm: str = "batch",
        act: str = "leaky",
    ) -> None:
        super().__init__()
        dims = task.dims
        self.widths = levels(widths, len(task.strides) + 1)
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in task.strides)
        self.encoder = nn.ModuleList(
            twice(dims, before, after, norm=norm, act=act)
            for before, after in zip([task.inputs, *self.widths], self.widths)
        )
        finer = list(zip(self.widths[:-1], self.widths[1:]))
        self.up = nn.ModuleList(
            unit(dims, coarse, fine, norm=norm, act=act) for fine, coarse in finer
        )
        self.decoder = nn.ModuleList(
            twice(dims, 2 * fine, fine, norm=norm, act=act) for fine, _ in finer
        )
        self.heads = nn.ModuleList(CONV[dims](fine, task.outputs, 1) for fine, _ in finer[:HEADS])

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, batch.image * batch.present, self.pool)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S), all of full size, that of the finest scale first."""
        features, size = pyramid[-1], pyramid[0].shape[2:]
        logits: list[Tensor] = []
        for level in reversed(range(len(self.up))):
            skip = pyramid[level]
            above = self.up[level](F.interpolate(features, size=skip.shape[2:], mode="nearest"))
            features = self.decoder[level](torch.cat([skip, above], dim=1))
            if level < len(self.heads) and (self.training or level == 0):
                found = self.heads[level](features)
                logits.insert(
                    0, F.interpolate(found, size=size, mode="nearest") if level else found
                )
        return logits
