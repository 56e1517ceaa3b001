"""MPU-Net: a residual U-Net, attention over positions, the mean of what every scale says."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from oncoseg.blocks.attention import AttentionGate, PositionAttention, attended
from oncoseg.blocks.convs import CONV, TRANSPOSED, initialise
from oncoseg.blocks.resize import fitted, padded, resized
from oncoseg.blocks.supervision import mean_logits
from oncoseg.blocks.units import POOL, norm_of, unit
from oncoseg.blocks.vit import sincos_positions
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "MPU-Net: Multi-scale attention and position-aware U-Net for 3D CT segmentation",
    2023,
    arxiv="2307.05799",
    reading="As in the public code (no licence; read, not copied), without what it builds and "
    "never runs; its ELU has the number of channels as alpha, ours 1. Of several "
    "modalities the mean is added behind the first stage; strides follow the plan, and 2-D "
    "is ours. In two minutes of a core it falls behind the U-Net on polyps (docs/networks) "
    "and is slow: after 200 steps it has 0.88 of four polyps by heart.",
)
FLAT = 2  # stages below the coarsest resolution, which are not strided


class Mpunet(Network):
    """Stages of two convolutions round a shortcut, strided by `task.strides`, then two unstrided.

    Below, every voxel attends to every other. The decoder has three convolutions a level, gated by
    what comes from below, and a map at each, brought to full size. The answer is the mean of their
    probabilities, given as logits; in training the maps of all levels but the finest follow it.
    With `positions`, sine codes of where a voxel lies enter the attention: the paper speaks of
    them, its code leaves them out. Published: `width=16` and three strides of 2.
    """

    def __init__(
        self, task: Task, *, width: int = 8, dropout: float = 0.2, positions: bool = False
    ) -> None:
        super().__init__()
        if width < 2:
            raise BadOption(f"Mpunet takes a width of at least 2, not {width}")
        dims, strides, count = task.dims, task.strides, len(task.strides)
        wide = [width * 2**level for level in range(count + FLAT + 1)]
        self.widths, self.positions = wide[:-1], positions
        self.exclusive, self.dropout = task.exclusive, nn.Dropout(dropout)
        self.whole = [math.prod(step[axis] for step in strides) for axis in range(dims)]
        one = ((1,) * dims,) * FLAT
        self.encoder = nn.ModuleList(
            convs(dims, inputs, width, 2)
            for inputs, width in zip([task.inputs, *wide[1:-1]], wide[:-1])
        )
        self.down = nn.ModuleList(
            Down(dims, before, after, step)
            for before, after, step in zip(wide[:-1], wide[1:], (*strides, *one))
        )
        deep = wide[-2]
        self.attention = attended(dims, 2 * deep, deep, PositionAttention(dims, deep))
        # The coarsest level of the decoder has the skip alone, and as many channels as attention.
        below = [*wide[1 : count + 1], deep]
        self.up = nn.ModuleList(
            nn.Sequential(TRANSPOSED[dims](coarse, fine, step, step), nn.PReLU(fine))
            for fine, coarse, step in zip(wide[1:], [*wide[2 : count + 1], deep], strides)
        )
        self.decoder = nn.ModuleList(
            convs(dims, skip + (inner if level < count else 0), inner, 3)
            for level, (skip, inner) in enumerate(zip(wide, below))
        )
        self.gates = nn.ModuleList(
            AttentionGate(dims, inner, inner, inner // 2, within="batch") for inner in below
        )
        self.heads = nn.ModuleList(CONV[dims](inner, task.outputs, 1) for inner in below)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), and two more at the coarsest.

        S is padded so that the strides divide it.
        """
        features = padded(batch.image * batch.present, self.whole)
        shortcut = features.mean(dim=1, keepdim=True)
        pyramid: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            features = stage(features) + shortcut
            features = self.dropout(features) if level else features
            pyramid.append(features)
            if level < len(self.encoder) - 1:
                features = shortcut = self.down[level](features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S): of the mean, then of the levels, finer first."""
        below = self._bottom(pyramid[-1])
        maps: list[Tensor] = []
        size = pyramid[0].shape[2:]
        coarsest = len(self.decoder) - 1
        for level in reversed(range(len(self.decoder))):
            skip = pyramid[level]
            if level < coarsest:
                below = self.up[level](below)
                skip = torch.cat([below, skip], dim=1)
            found = self.gates[level](self.decoder[level](skip) + below, below)
            below = self.dropout(found) if level else found
            maps.insert(0, fitted(resized(self.heads[level](below), size), batch.image))
        return [mean_logits(maps, self.exclusive), *maps[1:]]

    def _bottom(self, features: Tensor) -> Tensor:
        features = self.down[-1](features)
        if self.positions:
            codes = sincos_positions(features.shape[2:], features.shape[1], features.device)
            features = features + codes.T.reshape(features.shape[1:]).to(features.dtype)
        found: Tensor = self.attention(features)
        return found


class Down(nn.Sequential):
    """The largest of neighbours, a convolution (strided: of kernel `stride`), norm and ELU."""

    def __init__(self, dims: int, inputs: int, width: int, stride: tuple[int, ...]) -> None:
        flat = max(stride) == 1
        conv = CONV[dims](inputs, width, 3 if flat else stride, stride, int(flat))
        super().__init__(POOL[dims](3, 1, 1), conv, norm_of(dims, width, "batch"), nn.ELU())


def convs(dims: int, inputs: int, width: int, count: int) -> nn.Sequential:
    """Convolutions with a PReLU each, without norms."""
    wide = [inputs, *[width] * count]
    return nn.Sequential(*(unit(dims, a, b, norm="", act="prelu") for a, b in pairwise(wide)))
