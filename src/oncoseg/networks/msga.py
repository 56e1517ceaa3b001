"""Multi-scale guided attention: positions and channels attended at every scale, twice, guided."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oncoseg.blocks.attention import ChannelAttention, PositionAttention, attended
from oncoseg.blocks.convs import CONV, TRANSPOSED, initialise
from oncoseg.blocks.resize import enlarged, padded, resized
from oncoseg.blocks.resnext import Resnext
from oncoseg.blocks.units import MEAN, POOL, twice, unit
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Multi-scale self-guided attention for medical image segmentation",
    2020,
    arxiv="1906.02849",
    doi="10.1109/JBHI.2020.2986926",
    reading="As in the public code (no licence; read, not copied), without what it builds and "
    "never runs. Weights start anew, where the paper's come from ImageNet; a bound on the "
    "positions that attend to one another and 3-D are ours. Its losses are the method "
    "self_guided. In two minutes of a core it falls behind the U-Net on polyps and "
    "hippocampi (docs/networks), but learns four polyps by heart.",
)
STEP = 32  # voxels of the coarsest feature along each axis
SCALES = 4


@dataclass(frozen=True)
class Guides:
    """What the semantic modules say, of which the method `self_guided` makes losses.

    `pairs` holds the vector (B, C, *S) of each scale in both passes; `copies` what went into the
    module and what came out of it, of each scale and pass.
    """

    pairs: list[tuple[Tensor, Tensor]]
    copies: list[tuple[Tensor, Tensor]]


class Msga(Network):
    """ResNeXt; its four stages, `features` wide at a quarter of the size each, and their fusion.

    A pass puts each scale beside the fusion, lets positions and channels attend to one another,
    sums both and multiplies them by what a small autoencoder makes of the same. The second pass
    sees the fusion times what the first found. In training there are eight maps: of the second
    pass, finest scale first, and of the scales alone; the answer is the mean of the former. At most
    `tokens` positions attend to one another: of more, means are taken first. Published (ResNeXt-101
    32x4d, 256 x 256): `width=64,units=3x4x23x3,groups=32,features=64,tokens=4096`.
    """

    gives = ("guides",)

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        units: tuple[int, ...] = (2, 2, 2, 2),
        groups: int = 32,
        features: int = 16,
        tokens: int = 1024,
    ) -> None:
        super().__init__()
        if len(units) != SCALES or min(width, groups, features, tokens) < 1:
            raise BadOption(
                "Msga takes four units and a width, groups, features and tokens of at least 1, "
                f"not {units}, {width}, {groups}, {features} and {tokens}"
            )
        dims = task.dims
        self.backbone = Resnext(dims, task.inputs, width, units, groups)
        self.widths = self.backbone.widths
        self.narrow = nn.ModuleList(unit_prelu(dims, inputs, features, 1) for inputs in self.widths)
        self.fuse = nn.Sequential(
            unit_prelu(dims, SCALES * features, features, 3),
            unit_prelu(dims, features, features, 3),
            unit_prelu(dims, features, features, 1),
        )
        self.passes = nn.ModuleList(Pass(dims, features, tokens) for _ in range(2))
        self.first, self.second = (
            nn.ModuleList(CONV[dims](features, task.outputs, 1) for _ in range(SCALES))
            for _ in range(2)
        )
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 4, 8, 16, 32), finest first; S is padded to 32."""
        pyramid: list[Tensor] = self.backbone(padded(batch.image * batch.present, STEP))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S): eight maps in training, else their mean (see above)."""
        return self.guided(pyramid, batch)[0]

    def guided(self, pyramid: list[Tensor], batch: Batch) -> tuple[list[Tensor], Guides]:
        """The logits, and what guides them."""
        size = pyramid[0].shape[2:]
        scales = [resized(narrow(level), size) for narrow, level in zip(self.narrow, pyramid)]
        fused = self.fuse(torch.cat(scales[::-1], dim=1))
        found, vectors, copies = [fused] * SCALES, [], []
        for step, again in enumerate(self.passes):
            seen = [torch.cat(two, dim=1) for two in zip(scales, found)]
            found, codes, copied = again(seen)
            vectors.append(codes)
            copies += list(zip(seen, copied))
            found = found if step else [each * fused for each in found]
        maps = [head(each) for head, each in zip(self.second, found)]
        if self.training:
            maps += [head(each) for head, each in zip(self.first, scales)]
        else:
            maps = [torch.stack(maps).mean(dim=0)]
        logits = [enlarged(each, batch.image, STEP) for each in maps]
        return logits, Guides(list(zip(*vectors)), copies)


class Pass(nn.Module):
    """Both attentions at each scale, guided by one semantic module for all of them."""

    def __init__(self, dims: int, features: int, tokens: int) -> None:
        super().__init__()
        both = 2 * features
        self.semantic = Semantic(dims, both)
        self.positions, self.channels, self.guide, self.last = (
            nn.ModuleList(make() for _ in range(SCALES))
            for make in (
                lambda: attended(dims, both, features, Bounded(dims, features, tokens)),
                lambda: attended(dims, both, features, ChannelAttention()),
                lambda: CONV[dims](both, features, 3, padding=1),
                lambda: CONV[dims](features, features, 1),
            )
        )

    def forward(self, seen: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """(B, 2 features, *S) of each scale -> (B, features, *S), vectors and copies of each."""
        vectors, copies = zip(*(self.semantic(each) for each in seen))
        layers = zip(seen, copies, self.positions, self.channels, self.guide, self.last)
        found = [
            last((position(each) + channel(each)) * guide(copy))
            for each, copy, position, channel, guide, last in layers
        ]
        return found, list(vectors), list(copies)


class Semantic(nn.Module):
    """An autoencoder: (B, width, *S) -> its vector (B, 4 width, *S/4) and a copy (B, width, *S)."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        up = TRANSPOSED[dims]
        self.encode = nn.Sequential(
            twice(dims, width, 2 * width),
            POOL[dims](2),
            twice(dims, 2 * width, 4 * width),
            POOL[dims](2),
        )
        self.decode = nn.Sequential(
            twice(dims, 4 * width, 2 * width),
            up(2 * width, 2 * width, 2, 2),
            twice(dims, 2 * width, width),
            up(width, width, 2, 2),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The vector and the copy; 4 divides S."""
        vector = self.encode(features)
        return vector, self.decode(vector)


class Bounded(nn.Module):
    """Position attention among means of cubes where there are more than `tokens` positions."""

    def __init__(self, dims: int, width: int, tokens: int) -> None:
        super().__init__()
        self.attention, self.tokens = PositionAttention(dims, width), tokens
        self.mean = MEAN[dims]

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> the same."""
        shape, side = features.shape[2:], 1
        while math.prod(math.ceil(length / side) for length in shape) > self.tokens:
            side *= 2
        if side == 1:
            attended: Tensor = self.attention(features)
            return attended
        coarse = self.mean(side, ceil_mode=True)(features)
        change = self.attention(coarse) - coarse
        return features + resized(change, shape)


def unit_prelu(dims: int, inputs: int, width: int, kernel: int) -> nn.Sequential:
    """A convolution, its norm and one PReLU."""
    return nn.Sequential(unit(dims, inputs, width, kernel, act=""), nn.PReLU())
