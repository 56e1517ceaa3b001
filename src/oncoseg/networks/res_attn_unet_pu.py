"""A residual U-Net with attention gates on its skips, made for pressure ulcers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.attention import AttentionGate
from oncoseg.blocks.convs import CONV, TRANSPOSED, initialise
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import fitted
from oncoseg.blocks.units import POOL, levels, twice, unit
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "A Pressure Ulcer Care System For Remote Medical Assistance: Residual U-Net with an Attention "
    "Model Based for Wound Area Segmentation",
    2021,
    arxiv="2101.09433",
    reading="No code is public: widths, where the shortcuts lie and that gates add are our "
    "reading. To begin with weights learned on other wounds, start from their model; 3-D "
    "is ours. In two minutes of a core it falls behind the U-Net on polyps "
    "(docs/networks), but learns four polyps by heart.",
)


class ResAttnUnetPu(Network):
    """Stages of two convolutions round a shortcut, pooled by `task.strides`.

    The last of `widths` repeats. A skip x enters the decoder as alpha x, with alpha =
    sigmoid(psi(relu(W_x x + W_g g))) in (0, 1) and g what comes from below; without `gates` as it
    is. `residual` leaves the shortcuts out where it is false. As large as the U-Net of 2015:
    `widths=64x128x256x512x1024`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 128, 128),
        gates: bool = True,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if min(widths) < 2:
            raise BadOption(f"ResAttnUnetPu takes widths of at least 2, not {widths}")
        dims, strides = task.dims, task.strides
        self.widths = levels(widths, len(strides) + 1)
        finer = list(zip(self.widths[:-1], self.widths[1:], strides))

        def stage(inputs: int, width: int) -> nn.Module:
            return Stage(dims, inputs, width) if residual else twice(dims, inputs, width)

        self.stem = stage(task.inputs, self.widths[0])
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in strides)
        self.encoder = nn.ModuleList(stage(fine, coarse) for fine, coarse, _ in finer)
        self.up = nn.ModuleList(
            TRANSPOSED[dims](coarse, fine, step, step) for fine, coarse, step in finer
        )
        self.gates = nn.ModuleList(
            AttentionGate(dims, fine, fine, max(1, fine // 2), within="batch")
            for fine, _, _ in (finer if gates else ())
        )
        self.decoder = nn.ModuleList(stage(2 * fine, fine) for fine, _, _ in finer)
        self.head = CONV[dims](self.widths[0], task.outputs, 1)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed([self.stem, *self.encoder], batch.image * batch.present, self.pool)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1]
        for level in reversed(range(len(self.decoder))):
            skip = pyramid[level]
            above = fitted(self.up[level](features), skip)
            if self.gates:
                skip = self.gates[level](skip, above)
            features = self.decoder[level](torch.cat([above, skip], dim=1))
        return [self.head(features)]


class Stage(nn.Module):
    """Two convolutions with norm and ReLU round a shortcut of 1 x 1 with a norm."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        self.convs = twice(dims, inputs, width)
        self.project = unit(dims, inputs, width, 1, act="")

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        found: Tensor = self.convs(features) + self.project(features)
        return found
