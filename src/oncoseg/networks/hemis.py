"""HeMIS: an encoder for each modality, fused by mean and variance over those that are there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, TRANSPOSED, initialise, stage
from oncoseg.blocks.pyramid import descended, logits_of
from oncoseg.blocks.subsets import coarser, key, mean_over, variance_over
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "HeMIS: Hetero-Modal Image Segmentation",
    2016,
    arxiv="1607.05194",
    reading="The paper fuses once, behind two convolutions a modality; here each level of a U-Net "
    "is fused. Presence is read voxel by voxel, so a scan that covers part of the patch "
    "counts where it covers. In two minutes of a core it falls behind the U-Net on polyps "
    "(docs/networks), since its steps are fewer: after as many, the U-Net has about as "
    "much.",
)


class Hemis(Network):
    """Encoders under their modality's name, so that weights go by name to another set of them.

    Each stage has `blocks` convolutions, all but the first strided by `task.strides`; an encoder
    has `width` channels, doubled from level to level up to `limit`. Every level is fused voxel by
    voxel to the mean and the unbiased variance over the modalities that are there (0 for one
    alone), which a U-Net decoder reads. Any subset runs on the same weights, in any order.
    """

    def __init__(self, task: Task, *, width: int = 16, limit: int = 256, blocks: int = 2) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise BadOption(f"Hemis takes width and blocks of at least 1, not {width} and {blocks}")
        self.modalities = task.modalities
        self.strides = [(1,) * task.dims, *task.strides]
        own = [min(limit, width * 2**level) for level in range(len(self.strides))]
        self.widths = [2 * channels for channels in own]
        self.encoders = nn.ModuleDict(
            {
                key(name): nn.ModuleList(
                    stage(task.dims, inputs, channels, stride, blocks)
                    for inputs, channels, stride in zip([1, *own], own, self.strides)
                )
                for name in task.modalities
            }
        )
        coarse = [*own[1:-1], self.widths[-1]]
        finer = list(zip(own, coarse, self.strides[1:]))
        self.up = nn.ModuleList(
            TRANSPOSED[task.dims](inputs, fine, stride, stride) for fine, inputs, stride in finer
        )
        self.decoder = nn.ModuleList(
            stage(task.dims, 3 * fine, fine, (1,) * task.dims, blocks) for fine, _, _ in finer
        )
        self.heads = nn.ModuleList(
            CONV[task.dims](fine, task.outputs, 1) for fine, _, _ in finer[: max(1, len(finer) - 1)]
        )
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Mean and variance (B, 2 width_i, *S_i) a level, finest first."""
        there = batch.present.to(batch.image.dtype)
        features = dict(zip(self.modalities, (batch.image * there).split(1, dim=1)))
        pyramid = []
        for level, stride in enumerate(self.strides):
            there = coarser(there, stride) if level else there
            features = {name: self._stage_of(name, level)(features[name]) for name in features}
            stacked = torch.stack([features[name] for name in self.modalities], dim=1)
            present = there.unsqueeze(2)
            fused = [mean_over(stacked, present), variance_over(stacked, present)]
            pyramid.append(torch.cat(fused, dim=1))
        return pyramid

    def _stage_of(self, name: str, level: int) -> nn.Module:
        stages: Any = self.encoders[key(name)]
        stage: nn.Module = stages[level]
        return stage

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first."""
        levels = descended(pyramid, self.up, self.decoder)
        return logits_of(self.heads, levels, every=self.training)
