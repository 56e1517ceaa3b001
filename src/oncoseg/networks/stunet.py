"""STU-Net: six stages of residual blocks whose weights fit any plan, in four sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.pyramid import climbed, descended, logits_of
from oncoseg.blocks.strided import strided_stage
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by Large-Scale "
    "Supervised Pre-training",
    2023,
    arxiv="2304.06716",
    reading="Blocks, widths, depths, the fixed six stages and the rate of fine-tuning are those of "
    "the public code; 2-D is ours, with the same stages. Its published weights are not "
    "read. In two minutes of a core it falls behind the U-Net on polyps (docs/networks), "
    "since its steps are fewer: after as many, the U-Net has about as much.",
)
SIZES = {"small": (16, 1), "base": (32, 1), "large": (64, 2), "huge": (96, 3)}
FACTORS = (1, 2, 4, 8, 16, 16)


class Stunet(Network):
    """Six stages of kernels 3 along every axis, each but the first strided by `task.strides`.

    Of more strides than five the first five count, of fewer the last stages are not strided. No
    weight has a shape that depends on the plan: up-sampling repeats voxels. Stages are `width` x 1,
    2, 4, 8, 16, 16 wide (0: the width of the `size`). The image (B, M, *S) enters alone, 0 where a
    modality is absent. Logits come at every resolution but the coarsest, for deep supervision.
    """

    def __init__(self, task: Task, *, size: str = "small", width: int = 0) -> None:
        super().__init__()
        if size not in SIZES:
            raise BadOption(f"Stunet has size of {', '.join(SIZES)}, not '{size}'")
        if width < 0:
            raise BadOption(f"Stunet takes a width of at least 1, or 0 for its size's, not {width}")
        usual, blocks = SIZES[size]
        dims, one = task.dims, (1,) * task.dims
        self.widths = [(width or usual) * factor for factor in FACTORS]
        coarser = len(self.widths) - 1
        strides = [one, *task.strides[:coarser], *[one] * (coarser - len(task.strides))]
        inputs = [task.inputs, *self.widths]
        finer = list(zip(self.widths[:-1], self.widths[1:]))
        self.encoder = nn.ModuleList(
            strided_stage(dims, before, after, stride, blocks)
            for before, after, stride in zip(inputs, self.widths, strides)
        )
        self.up = nn.ModuleList(CONV[dims](coarse, fine, 1) for fine, coarse in finer)
        self.decoder = nn.ModuleList(
            strided_stage(dims, 2 * fine, fine, one, blocks) for fine, _ in finer
        )
        self.heads = nn.ModuleList(CONV[dims](fine, task.outputs, 1) for fine, _ in finer)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, batch.image * batch.present)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first."""
        # As a 1 x 1 convolution of repeated voxels, for an eighth of the work.
        levels = descended(pyramid, self.up, self.decoder, repeated)
        return logits_of(self.heads, levels, every=self.training)


def repeated(above: Tensor, skip: Tensor) -> Tensor:
    """Voxels as often as the skip has them, and the skip."""
    return torch.cat([F.interpolate(above, size=skip.shape[2:], mode="nearest"), skip], dim=1)
