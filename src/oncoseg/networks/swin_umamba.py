"""Swin-UMamba: an encoder that scans along the axes, and a decoder of residual convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, NORM, fitted
from oncoseg.blocks.ss2d import Selection, Ss2d
from oncoseg.blocks.unetr import UnetrBlock, UnetrUp
from oncoseg.blocks.vit import padded
from oncoseg.blocks.windows import PatchMerging
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Swin-UMamba: Mamba-based UNet with ImageNet-based Pretraining",
    2024,
    arxiv="2402.03302",
    doi="10.1007/978-3-031-72114-4_59",
    reading="As in the public code, whose encoder starts from weights of ImageNet; here it starts "
    "anew. Sizes are halved five times, whatever the plan, of images padded to multiples of 32; "
    "neighbours are merged in their natural order; 3-D is ours, with six directions.",
)


class SwinUmamba(Network):
    """A strided stem, patches of 2, and four stages of `depths` blocks x + SS2D(norm(x)).

    Widths are `width` and its doubles; blocks are skipped for an item with a chance that rises to
    `skip` at the last. Skips, the image too, go through a residual block. Published: width=48,
    depths=2x2x9x2, states=16.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        states: int = 8,
        skip: float = 0.2,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or min(*depths, width, states) < 1 or not 0 <= skip < 1:
            raise BadOption(
                "SwinUmamba takes four depths, a width and states of at least 1, and a skip from 0 "
                f"to below 1, not {depths}, {width}, {states} and {skip}"
            )
        dims = task.dims
        wide = [width * 2**stage for stage in range(1, 5)]
        self.widths = [width, *wide]
        self.stem = nn.Sequential(
            CONV[dims](task.inputs, width, 7, 2, 3), NORM[dims](width, affine=True)
        )
        self.embed, self.norm = CONV[dims](width, wide[0], 2, 2), nn.LayerNorm(wide[0])
        chances = iter(torch.linspace(0, skip, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(size, dims, states, next(chances)) for _ in range(depth)))
            for size, depth in zip(wide, depths)
        )
        self.merge = nn.ModuleList(PatchMerging(size, dims) for size in wide[:-1])
        for part in (self.stages, self.merge):
            part.apply(_initialise)
        inputs = [task.inputs, *self.widths[:-1]]
        levels = [*self.widths, wide[-1]]
        self.skips = nn.ModuleList(
            UnetrBlock(dims, before, after) for before, after in zip(inputs, self.widths)
        )
        self.up = nn.ModuleList(
            UnetrUp(dims, coarse, fine) for fine, coarse in zip(self.widths, levels[1:])
        )
        self.last = UnetrBlock(dims, width, width)
        self.heads = nn.ModuleList(CONV[dims](size, task.outputs, 1) for size in self.widths[:4])
        self.alone = "its scans run over all voxels, too long to be unrolled into a graph"

    def encode(self, batch: Batch) -> list[Tensor]:
        """(B, width, *S/2) of the stem, then stages at S/4 to S/32; S padded to 32s."""
        features = self.stem(padded(batch.image * batch.present, 32))
        pyramid = [features]
        inner = self.norm(self.embed(features).movedim(1, -1))
        for place, stage in enumerate(self.stages):
            inner = stage(self.merge[place - 1](inner) if place else inner)
            pyramid.append(inner.movedim(-1, 1))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S), then in training at S/2, S/4 and S/8, padded no more."""
        image = batch.image * batch.present
        features = pyramid[-1]
        found: list[Tensor] = []
        for level in reversed(range(len(self.up))):
            below = pyramid[level - 1] if level else padded(image, 32)
            features = self.up[level](features, self.skips[level](below))
            found.insert(0, features)
        found[0] = self.last(found[0])
        logits = [self.heads[0](found[0])]
        if self.training:
            logits += [head(level) for head, level in zip(self.heads[1:], found[1:])]
        return [fitted(each, _halved(image, level)) for level, each in enumerate(logits)]


class Block(nn.Module):
    """x + SS2D(norm(x)) on maps (B, *S, width); in training skipped for some items."""

    def __init__(self, width: int, dims: int, states: int, chance: float) -> None:
        super().__init__()
        self.norm, self.scan = nn.LayerNorm(width), Ss2d(width, dims, states=states)
        self.chance = chance

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        moved: Tensor = self.scan(self.norm(features))
        if self.training and self.chance:
            kept = torch.rand(len(moved), *(1,) * (moved.ndim - 1), device=moved.device)
            moved = moved * (kept >= self.chance) / (1 - self.chance)
        return features + moved


def _halved(image: Tensor, times: int) -> Tensor:
    """Something of the image's size, halved so often and rounded up."""
    box: Any = (..., *(slice(None, None, 2**times) for _ in image.shape[2:]))
    return image[box]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, Selection):  # after its own linear maps
        module.reset()
