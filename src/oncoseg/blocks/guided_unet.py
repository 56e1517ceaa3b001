"""A U-Net that sees the image at every scale, with a place for gates, a bottleneck and guides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.resize import fitted
from oncoseg.blocks.units import MEAN, POOL, levels, raised, twice, unit
from oncoseg.case import Batch, Task
from oncoseg.trainable import Network


class GuidedUnet(Network):
    """Stages of two convolutions, pooled by `task.strides`; logits at every level of the decoder.

    With `multi_scale`, the image is averaged down to each level, convolved, and put beside the
    features there. A skip goes through `gate`, the coarsest features through `middle`; with
    `guided`, what comes out there is brought up by and by, and put beside each skip. `deep` gives
    logits of all levels in training.
    """

    def __init__(
        self,
        task: Task,
        widths: Sequence[int],
        *,
        multi_scale: bool,
        deep: bool,
        guided: bool = False,
    ) -> None:
        super().__init__()
        dims, strides = task.dims, task.strides
        self.widths, self.deep = levels(widths, len(strides) + 1), deep
        finer = list(zip(self.widths[:-1], self.widths[1:], strides))
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in strides)
        self.shrink = nn.ModuleList(
            MEAN[dims](step, step, ceil_mode=True) for step in (strides if multi_scale else ())
        )
        self.look = nn.ModuleList(
            unit(dims, task.inputs, width) for width in self.widths[1:] if multi_scale
        )
        inputs = [task.inputs, *self.widths[:-1]]
        self.encoder = nn.ModuleList(
            twice(dims, before + (after if multi_scale and place else 0), after)
            for place, (before, after) in enumerate(zip(inputs, self.widths))
        )
        self.middle = self.bottleneck(dims, self.widths[-1])
        self.up = nn.ModuleList(raised(dims, coarse, fine, step) for fine, coarse, step in finer)
        self.gates = nn.ModuleList(self.gated(dims, fine) for fine, _, _ in finer)
        self.guides = nn.ModuleList(
            raised(dims, coarse, fine, step) for fine, coarse, step in (finer if guided else ())
        )
        parts = 3 if guided else 2
        self.decoder = nn.ModuleList(twice(dims, parts * fine, fine) for fine, _, _ in finer)
        heads = len(finer) if deep else 1
        self.heads = nn.ModuleList(
            CONV[dims](fine, task.outputs, 1) for fine, _, _ in finer[:heads]
        )
        self.apply(initialise)

    def bottleneck(self, dims: int, width: int) -> nn.Module:
        """What the coarsest features go through."""
        return nn.Identity()

    def gated(self, dims: int, width: int) -> nn.Module:
        """What a skip goes through, with what comes from below."""
        return Plain()

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        image = batch.image * batch.present
        features = self.encoder[0](image)
        pyramid = [features]
        for place, stage in enumerate(self.encoder[1:]):
            features = self.pool[place](features)
            if len(self.look):
                image = self.shrink[place](image)
                features = torch.cat([features, self.look[place](image)], dim=1)
            features = stage(features)
            pyramid.append(features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first; in evaluation the finest alone."""
        features = guide = self.middle(pyramid[-1])
        logits: list[Tensor] = []
        for level in reversed(range(len(self.up))):
            skip = pyramid[level]
            above = fitted(self.up[level](features), skip)
            parts = [self.gates[level](skip, above), above]
            if len(self.guides):
                guide = fitted(self.guides[level](guide), skip)
                parts.append(guide)
            features = self.decoder[level](torch.cat(parts, dim=1))
            if level == 0 or (self.training and self.deep):
                logits.insert(0, self.heads[level](features))
        return logits


class Plain(nn.Module):
    """A skip as it is."""

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """(B, C, *S) and what comes from below -> (B, C, *S)."""
        return skip
