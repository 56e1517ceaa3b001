"""PCT-Net: a pyramid whose three coarser levels add shifted windows to convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, TRANSPOSED
from oncoseg.blocks.resize import padded
from oncoseg.blocks.units import POOL, norm_of
from oncoseg.blocks.windows import SwinStage
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale "
    "Unannotated Dataset",
    2023,
    arxiv="2306.16925",
    reading="Sizes and order are those of the public code (Apache-2.0), which holds the parts of "
    "all three ways to treat thick slices whichever is used; here there are those of one. "
    "Windows have no stochastic depth, and tell all offsets apart; 2-D is ours. In two "
    "minutes of a core it falls behind the U-Net on polyps (docs/networks), since its "
    "steps are fewer: after as many, the U-Net has about as much.",
)
LEVELS, HEADS, DEPTH, STEP = 5, (4, 8, 16), 2, 16


class PctNet(Network):
    """Two levels of convolutions, then three of convolutions and, added, windows of `window`.

    Norm and PReLU stand before each convolution. The first `flat` levels, 0 to 2, neither convolve
    nor halve along the axis of widest spacing; -1 takes from the plan how many do not halve it.
    `dropout` is that of the coarser levels, `deep` gives logits at four of five levels in training.
    Published: `widths=24x48x128x256x512`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 24, 32, 64, 128),
        window: int = 6,
        flat: int = -1,
        dropout: float = 0.2,
        deep: bool = True,
    ) -> None:
        super().__init__()
        if len(widths) != LEVELS or any(w % h for w, h in zip(widths[2:], HEADS)):
            raise BadOption(
                f"PctNet takes {LEVELS} widths, of which {HEADS} divide the last three, "
                f"not {widths}"
            )
        if not -1 <= flat <= 2:
            raise BadOption(f"PctNet is flat in 0, 1 or 2 levels, or as planned (-1), not {flat}")
        dims, axis = task.dims, max(range(task.dims), key=lambda place: task.spacing[place])
        whole = [bool(stride[axis] == 1) for stride in task.strides[:2]]
        self.flat = flat if flat >= 0 else [*whole, False].index(False)
        self.widths, self.deep = list(widths), deep
        self.steps = [_but(2, axis, dims, level < self.flat) for level in range(LEVELS - 1)]
        kernels = [_but(3, axis, dims, level < self.flat) for level in range(LEVELS)]
        pairs = list(pairwise(widths))
        self.enter = _conv(dims, task.inputs, widths[0], kernels[0])
        self.pool = nn.ModuleList(POOL[dims](step) for step in self.steps)
        self.down = nn.ModuleList(
            before(dims, fine, coarse, kernel) for (fine, coarse), kernel in zip(pairs, kernels[1:])
        )
        self.encoder = nn.ModuleList(
            stage(dims, width, kernel, level, window, dropout)
            for level, (width, kernel) in enumerate(zip(widths, kernels))
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                *_norm_act(dims, coarse), TRANSPOSED[dims](coarse, fine, tuple(step), tuple(step))
            )
            for (fine, coarse), step in zip(pairs, self.steps)
        )
        self.join = nn.ModuleList(
            before(dims, 2 * fine, fine, kernel) for (fine, _), kernel in zip(pairs, kernels)
        )
        self.decoder = nn.ModuleList(
            stage(dims, fine, kernel, level, window, dropout)
            for level, ((fine, _), kernel) in enumerate(zip(pairs, kernels))
        )
        self.heads = nn.ModuleList(
            before(dims, fine, task.outputs, (1,) * dims)
            for fine, _ in pairs[: LEVELS - 1 if deep else 1]
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features of five levels, finest first; S is padded to multiples of 16."""
        image = padded(batch.image * batch.present, STEP, several=True)
        pyramid = [self.encoder[0](self.enter(image))]
        for pool, down, level in zip(self.pool, self.down, list(self.encoder)[1:]):
            pyramid.append(level(down(pool(pyramid[-1]))))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)], in training those of coarser levels too."""
        features, found = pyramid[-1], []
        for level in reversed(range(len(self.decoder))):
            joined = self.join[level](torch.cat([pyramid[level], self.up[level](features)], dim=1))
            features = self.decoder[level](joined)
            if level == 0 or (self.deep and self.training):
                found.append(self.heads[level](features))
        return [self._cut(*each, batch) for each in enumerate(found[::-1])]

    def _cut(self, level: int, logits: Tensor, batch: Batch) -> Tensor:
        """Without what was padded: each size is that of the image, halved and rounded up."""
        sizes = list(batch.image.shape[2:])
        for step in self.steps[:level]:
            sizes = [-(-size // by) for size, by in zip(sizes, step)]
        box: Any = (..., *(slice(0, size) for size in sizes))
        return logits[box]


class ConvTrans(nn.Module):
    """Convolutions and windows side by side, summed."""

    def __init__(
        self, dims: int, width: int, kernel: Sequence[int], heads: int, window: int, dropout: float
    ) -> None:
        super().__init__()
        self.convolutions = convolutions(dims, width, kernel, dropout)
        self.dropout = nn.Dropout(dropout)
        self.windows = SwinStage(width, DEPTH, heads, (window,) * dims)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        tokens = self.windows(self.dropout(features.movedim(1, -1)))
        found: Tensor = self.convolutions(features) + tokens.movedim(-1, 1)
        return found


def stage(
    dims: int, width: int, kernel: Sequence[int], level: int, window: int, dropout: float
) -> nn.Module:
    """Convolutions; from the third level on with windows beside them."""
    if level < LEVELS - len(HEADS):
        return convolutions(dims, width, kernel, 0.0)
    heads = HEADS[level - LEVELS + len(HEADS)]
    return ConvTrans(dims, width, kernel, heads, window, dropout)


def convolutions(dims: int, width: int, kernel: Sequence[int], dropout: float) -> nn.Sequential:
    """Two convolutions, each after norm and PReLU, with dropout before the second."""
    found = before(dims, width, width, kernel).extend(before(dims, width, width, kernel))
    return found.insert(5, nn.Dropout(dropout))


def before(dims: int, inputs: int, width: int, kernel: Sequence[int]) -> nn.Sequential:
    """Norm and PReLU before a convolution."""
    return nn.Sequential(*_norm_act(dims, inputs), _conv(dims, inputs, width, kernel))


def _norm_act(dims: int, width: int) -> tuple[nn.Module, nn.Module]:
    return norm_of(dims, width, "batch"), nn.PReLU()


def _conv(dims: int, inputs: int, width: int, kernel: Sequence[int]) -> nn.Module:
    padding = tuple(side // 2 for side in kernel)
    found: nn.Module = CONV[dims](inputs, width, tuple(kernel), padding=padding)
    return found


def _but(value: int, axis: int, dims: int, flat: bool) -> tuple[int, ...]:
    """So much along every axis, but 1 along `axis` where `flat`."""
    return tuple(1 if flat and place == axis else value for place in range(dims))
