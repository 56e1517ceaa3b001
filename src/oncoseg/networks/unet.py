"""U-Net whose depth, strides and widths follow the plan, with a plain or a residual encoder."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.convs import (
    CONV,
    TRANSPOSED,
    ConvNormAct,
    ResidualBlock,
    initialise,
    seen,
    stage,
)
from oncoseg.blocks.pyramid import climbed, descended, logits_of
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
    reading="Strides and patch follow our own rules (see the plan); the encoder is "
    "also told which modality is present.",
)


class Unet(Network):
    """Stages of `blocks` convolutions, each but the first strided by `task.strides`.

    Widths double up to `limit`. With `residual`, a stage of the encoder has `blocks` residual
    blocks of two convolutions instead. The image (B, M, *S) enters with its presence mask, as 2 M
    channels. Logits come at every resolution but the two coarsest, for deep supervision.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        limit: int = 320,
        blocks: int = 2,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise BadOption(f"Unet takes width and blocks of at least 1, not {width} and {blocks}")
        self.widths = [min(limit, width * 2**level) for level in range(len(task.strides) + 1)]
        self.strides = [(1,) * task.dims, *task.strides]
        kind = ResidualBlock if residual else ConvNormAct
        inputs = [2 * task.inputs, *self.widths]
        self.encoder = nn.ModuleList(
            stage(task.dims, inputs[level], width, stride, blocks, kind=kind)
            for level, (width, stride) in enumerate(zip(self.widths, self.strides))
        )
        finer = list(zip(self.widths[:-1], self.widths[1:], self.strides[1:]))
        self.up = nn.ModuleList(
            TRANSPOSED[task.dims](coarse, fine, stride, stride) for fine, coarse, stride in finer
        )
        self.decoder = nn.ModuleList(
            stage(task.dims, 2 * fine, fine, (1,) * task.dims, blocks) for fine, _, _ in finer
        )
        heads = max(1, len(finer) - 1)
        self.heads = nn.ModuleList(
            CONV[task.dims](fine, task.outputs, 1) for fine, _, _ in finer[:heads]
        )
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, seen(batch.image, batch.present))

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first."""
        levels = descended(pyramid, self.up, self.decoder)
        return logits_of(self.heads, levels, every=self.training)
