"""Swin-UMamba: an encoder that scans along the axes, a decoder of convolutions or scans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, NORM
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.patch_expand import PatchExpand
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.scan import ALONE
from oncoseg.blocks.ss2d import Selection, Ss2d
from oncoseg.blocks.unetr import UnetrBlock, UnetrUp
from oncoseg.blocks.windows import PatchMerging
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Swin-UMamba: Mamba-based UNet with ImageNet-based pretraining",
    2024,
    arxiv="2402.03302",
    reading="As in the public code, whose encoder starts from weights of ImageNet; here it starts "
    "anew. Sizes are halved five times, whatever the plan, of images padded to multiples "
    "of 32; neighbours are merged in their natural order; 3-D is ours, with six "
    "directions. In two minutes of a core it falls behind the U-Net on polyps "
    "(docs/networks), since its steps are fewer: after as many, the U-Net has about as "
    "much.",
)


DECODERS = ("conv", "scan")


class SwinUmamba(Network):
    """Patches of 4 voxels in two steps, and four stages of `depths` blocks x + SS2D(norm(x)).

    Widths are `width` and its doubles; blocks are skipped for an item with a chance that rises to
    `skip` at the last. The `decoder` is of convolutions (conv), where skips, the image too, go
    through a residual block, or scans as well (scan), Swin-UMamba with a dagger, whose patches are
    of one step. Published: width=48, depths=2x2x9x2, states=16.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        states: int = 8,
        skip: float = 0.2,
        decoder: str = "conv",
    ) -> None:
        super().__init__()
        if len(depths) != 4 or min(*depths, width, states) < 1 or not 0 <= skip < 1:
            raise BadOption(
                "SwinUmamba takes four depths, a width and states of at least 1, and a skip from 0 "
                f"to below 1, not {depths}, {width}, {states} and {skip}"
            )
        if decoder not in DECODERS:
            raise BadOption(f"SwinUmamba has decoders {', '.join(DECODERS)}, not '{decoder}'")
        dims, self.whole = task.dims, decoder == "scan"
        wide = [width * 2**stage for stage in range(1, 5)]
        self.stem = nn.Sequential()
        self.embed, self.norm = CONV[dims](task.inputs, wide[0], 4, 4), LayerNorm(wide[0])
        self.widths = wide
        if not self.whole:
            self.stem = nn.Sequential(
                CONV[dims](task.inputs, width, 7, 2, 3), NORM[dims](width, affine=True)
            )
            self.embed, self.widths = CONV[dims](width, wide[0], 2, 2), [width, *wide]
        chances = iter(torch.linspace(0, skip, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(size, dims, states, next(chances)) for _ in range(depth)))
            for size, depth in zip(wide, depths)
        )
        self.merge = nn.ModuleList(PatchMerging(size, dims) for size in wide[:-1])
        for part in (self.stages, self.merge):
            part.apply(_initialise)
        self.decoder = (
            ScanDecoder(task, wide, states, skip) if self.whole else ConvDecoder(task, self.widths)
        )
        self.alone = ALONE

    def encode(self, batch: Batch) -> list[Tensor]:
        """(B, width, *S/2) of the stem, if any, then S/4 to S/32; S padded to 32s."""
        features = self.stem(padded(batch.image * batch.present, 32))
        pyramid = [] if self.whole else [features]
        inner = self.norm(self.embed(features).movedim(1, -1))
        for place, stage in enumerate(self.stages):
            inner = stage(self.merge[place - 1](inner) if place else inner)
            pyramid.append(inner.movedim(-1, 1))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S), then in training three coarser ones; padded no more."""
        image = batch.image * batch.present
        found = self.decoder(pyramid, padded(image, 32))
        kept = list(zip(self.decoder.heads, found))[: 4 if self.training else 1]
        logits = [head(features) for head, features in kept]
        scales = [logits[0].shape[2] // each.shape[2] for each in logits]
        return [fitted(each, _thinned(image, step)) for each, step in zip(logits, scales)]


class ConvDecoder(nn.Module):
    """That of Swin UNETR: a pyramid from S/2 on and the image -> features at S, S/2, S/4, ..."""

    def __init__(self, task: Task, widths: Sequence[int]) -> None:
        super().__init__()
        dims, inputs, below = task.dims, [task.inputs, *widths[:-1]], [*widths[1:], widths[-1]]
        self.skips = nn.ModuleList(UnetrBlock(dims, a, b) for a, b in zip(inputs, widths))
        self.up = nn.ModuleList(UnetrUp(dims, a, b) for a, b in zip(below, widths))
        self.last = UnetrBlock(dims, widths[0], widths[0])
        self.heads = nn.ModuleList(CONV[dims](size, task.outputs, 1) for size in widths[:4])

    def forward(self, pyramid: list[Tensor], image: Tensor) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^i), finest first."""
        features, found = pyramid[-1], list[Tensor]()
        for level in reversed(range(len(self.up))):
            below = pyramid[level - 1] if level else image
            features = self.up[level](features, self.skips[level](below))
            found.insert(0, features)
        return [self.last(found[0]), *found[1:]]


class ScanDecoder(nn.Module):
    """Channels dealt to neighbours, the skip beside them, a linear map and two blocks."""

    def __init__(self, task: Task, widths: Sequence[int], states: int, skip: float) -> None:
        super().__init__()
        dims, pairs = task.dims, list(pairwise(widths))
        chances = torch.linspace(0, skip, 2 * len(pairs), device="cpu").tolist()
        self.up = nn.ModuleList(PatchExpand(dims, coarse, fine) for fine, coarse in pairs)
        self.join = nn.ModuleList(nn.Linear(2 * fine, fine) for fine, _ in pairs)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(fine, dims, states, chances[2 * at + 1 - i]) for i in range(2)))
            for at, (fine, _) in enumerate(pairs)
        )
        self.last = PatchExpand(dims, widths[0], widths[0], 4)
        sizes = [widths[0], *widths[:-1]]
        self.heads = nn.ModuleList(CONV[dims](size, task.outputs, 1) for size in sizes)
        self.stages.apply(_initialise)

    def forward(self, pyramid: list[Tensor], image: Tensor) -> list[Tensor]:
        """A pyramid from S/4 on -> features (B, C, *) at S, S/4, S/8 and S/16."""
        features, found = pyramid[-1].movedim(1, -1), list[Tensor]()
        for level in reversed(range(len(self.up))):
            skip = pyramid[level].movedim(1, -1)
            joined = self.join[level](torch.cat([self.up[level](features), skip], dim=-1))
            features = self.stages[level](joined)
            found.insert(0, features)
        return [each.movedim(-1, 1) for each in (self.last(features), *found)]


class Block(nn.Module):
    """x + SS2D(norm(x)) on maps (B, *S, width); in training skipped for some items."""

    def __init__(self, width: int, dims: int, states: int, chance: float) -> None:
        super().__init__()
        self.norm, self.scan = LayerNorm(width), Ss2d(width, dims, states=states)
        self.chance = chance

    def forward(self, features: Tensor) -> Tensor:
        """(B, *S, width) -> (B, *S, width)."""
        moved: Tensor = self.scan(self.norm(features))
        if self.training and self.chance:
            kept = torch.rand(len(moved), *(1,) * (moved.ndim - 1), device=moved.device)
            moved = moved * (kept >= self.chance) / (1 - self.chance)
        return features + moved


def _thinned(image: Tensor, step: int) -> Tensor:
    """Something of the size that the image has in steps of so many voxels, rounded up."""
    box: Any = (..., *(slice(None, None, step) for _ in image.shape[2:]))
    return image[box]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, Selection):  # after its own linear maps
        module.reset()
