"""FuseUNet: skips are fused by solving an initial value problem, in place of a decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, ConvNormAct, initialise
from oncoseg.blocks.multistep import explicit, implicit
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import resized
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "FuseUNet: A Multi-Scale Feature Fusion Method for U-like Networks",
    2025,
    arxiv="2506.05821",
    reading="The order of the first steps, and that the state is at full resolution, are those of "
    "the public code as described; the slope is -y + relu(x + y).",
)


class Fuseunet(Network):
    """y' = -y + relu(x + y), from 0 at the coarsest level to the answer at the finest.

    x is a skip, narrowed to twice as many channels as there are outputs (6 where fewer than 3) and
    brought to full resolution. Each level is a step: Adams-Bashforth predicts, Adams-Moulton
    corrects with the next skip, of an order that grows to 4; the last step only predicts. The
    encoder is that of nnU-Net, strided by `task.strides`. Every step gives logits, the last first.
    """

    def __init__(self, task: Task, *, width: int = 16, limit: int = 320) -> None:
        super().__init__()
        dims, outputs = task.dims, task.outputs
        self.widths = [min(limit, width * 2**level) for level in range(len(task.strides) + 1)]
        inputs, strides = [task.inputs, *self.widths], [(1,) * dims, *task.strides]
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvNormAct(dims, before, after, stride), ConvNormAct(dims, after, after))
            for before, after, stride in zip(inputs, self.widths, strides)
        )
        state = 2 * outputs if outputs > 2 else 6
        self.narrow = nn.ModuleList(CONV[dims](width, state, 1) for width in self.widths)
        self.heads = nn.ModuleList(CONV[dims](state, outputs, 1) for _ in self.widths)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, batch.image * batch.present)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S) of every step, the last first; in evaluation it alone."""
        size, step = batch.image.shape[2:], 1 / len(pyramid)
        narrowed = [layer(features) for layer, features in zip(self.narrow, pyramid)]
        skips = [resized(features, size) for features in reversed(narrowed)]
        state, slopes = torch.zeros_like(skips[0]), list[Tensor]()
        logits: list[Tensor] = []
        for place, skip in enumerate(skips):
            slopes = [*slopes[-3:], slope(skip, state)]
            guess = explicit(state, slopes, step)
            if place + 1 < len(skips):
                guess = implicit(state, [*slopes, slope(skips[place + 1], guess)], step)
            state = guess
            if self.training or place + 1 == len(skips):
                logits.insert(0, self.heads[place](state))
        return logits


def slope(skip: Tensor, state: Tensor) -> Tensor:
    """f(x, y) = -y + relu(x + y)."""
    return F.relu(skip + state) - state
