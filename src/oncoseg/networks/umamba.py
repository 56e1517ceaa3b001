"""U-Mamba: a residual U-Net with state-space layers at the bottleneck, or after encoder stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oncoseg.blocks.scan import Mamba
from oncoseg.blocks.sequence_unet import SequenceUnet, in_place, in_tokens
from oncoseg.case import Task
from oncoseg.registry import Card

CARD = Card(
    "U-Mamba: Enhancing Long-range Dependency for Biomedical Image Segmentation",
    2024,
    arxiv="2401.04722",
    reading="The paper says little of where layers stand: as in the public code, 3-D encoders have "
    "one after every stage, 2-D ones after every other; kernels are 3 along every axis.",
)


class Umamba(SequenceUnet):
    """`where`: `bottleneck` (or `bot`) puts one Mamba layer after the last stage.

    `encoder` (or `enc`) puts one after every stage in 3-D, after every other one and the last in
    2-D. There, a stage with no more voxels than channels takes channels as tokens, so the network
    sees `task.patch` alone. The rest is as in `blocks.sequence_unet`.
    """

    def __init__(
        self,
        task: Task,
        *,
        where: str = "bottleneck",
        width: int = 32,
        limit: int = 0,
        blocks: int = 2,
        states: int = 16,
    ) -> None:
        self.states = states
        sizes = {"width": width, "limit": limit, "blocks": blocks, "further": states}
        super().__init__(task, where=where, **sizes)
        if self.patch:
            self.alone = "its scans run over all voxels, too long to be unrolled into a graph"

    def layer(self, dims: int, level: int, sizes: Sequence[int]) -> nn.Module | None:
        """A Mamba layer where the paper's code has one."""
        before = len(self.widths) - 1 - level
        if before == 0 or (sizes and (dims == 3 or before % 2 == 0)):
            return StateSpace(self.widths[level], sizes, self.states)
        return None


class StateSpace(nn.Module):
    """Layer norm and a Mamba block over voxels in raster order, without a shortcut.

    Where `sizes` says that there are no more voxels than channels, channels are the tokens and
    voxels their features.
    """

    def __init__(self, width: int, sizes: Sequence[int], states: int) -> None:
        super().__init__()
        voxels = math.prod(sizes)
        self.turned = bool(sizes) and voxels <= width
        self.norm = nn.LayerNorm(voxels if self.turned else width)
        self.mamba = Mamba(voxels if self.turned else width, states=states)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S), in float32."""
        tokens = in_tokens(features, self.turned)
        with torch.autocast(features.device.type, enabled=False):
            mixed = self.mamba(self.norm(tokens.to(self.norm.weight.dtype)))
        return in_place(mixed, features, self.turned)
