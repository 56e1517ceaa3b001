"""UNet++: nested U-Nets of every depth on one encoder, each of which can be used alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, TRANSPOSED
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import fitted
from oncoseg.blocks.units import POOL, twice
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image Segmentation",
    2020,
    arxiv="1912.05074",
    doi="10.1109/TMI.2019.2959609",
    reading="Heads of all depths are averaged by the loss of the method, the deepest weighing "
    "most; the paper weighs them alike. Pooling follows the plan. In two minutes of a core "
    "it falls behind the U-Net on polyps (docs/networks), since its steps are fewer: after "
    "as many, the U-Net has about as much.",
)


class Unetpp(Network):
    """X(i, j) = block of X(i, 0..j-1) and of X(i+1, j-1) brought up; X(i, 0) is the encoder.

    Stages are `width` wide and double; pooling follows `task.strides`. Logits come from X(0, j) of
    every j, the deepest first, all at full resolution. With `depth` d above 0 only the nodes with
    i + j <= d are there: the network of the paper that is pruned to L^d, whose weights are part of
    those of the whole.
    """

    def __init__(
        self, task: Task, *, width: int = 16, limit: int = 512, depth: int = 0, norm: str = "batch"
    ) -> None:
        super().__init__()
        levels = len(task.strides)
        if not 0 <= depth <= levels:
            raise BadOption(f"Unetpp takes a depth of 1 to {levels}, or 0 for all, not {depth}")
        self.depth, dims = depth or levels, task.dims
        self.widths = [min(limit, width * 2**level) for level in range(self.depth + 1)]
        strides = task.strides[: self.depth]
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in strides)
        inputs = [task.inputs, *self.widths]
        self.encoder = nn.ModuleList(
            twice(dims, before, after, norm=norm) for before, after in zip(inputs, self.widths)
        )
        self.up, self.nodes = nn.ModuleDict(), nn.ModuleDict()
        for level, column in self._places():
            fine, coarse, step = *self.widths[level : level + 2], strides[level]
            self.up[f"{level}_{column}"] = TRANSPOSED[dims](coarse, fine, step, step)
            block = twice(dims, (column + 1) * fine, fine, norm=norm)
            self.nodes[f"{level}_{column}"] = block
        self.heads = nn.ModuleList(CONV[dims](width, task.outputs, 1) for _ in range(self.depth))

    def _places(self) -> list[tuple[int, int]]:
        """Level i and column j of every node, in an order in which each finds what it needs."""
        columns = range(1, self.depth + 1)
        return [(level, column) for column in columns for level in range(self.depth + 1 - column)]

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, batch.image * batch.present, self.pool)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S) of every depth, the deepest first; in evaluation it alone."""
        rows = [[features] for features in pyramid]
        for level, column in self._places():
            name = f"{level}_{column}"
            above = fitted(self.up[name](rows[level + 1][column - 1]), pyramid[level])
            rows[level].append(self.nodes[name](torch.cat([*rows[level], above], dim=1)))
        found = list(zip(self.heads, rows[0][1:]))[::-1]
        return [head(features) for head, features in (found if self.training else found[:1])]
