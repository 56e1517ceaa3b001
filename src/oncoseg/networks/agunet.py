"""AGU-Net: skips that are gated, the image at every scale, deep supervision."""

from __future__ import annotations

from torch import nn

from oncoseg.blocks.attention import AttentionGate
from oncoseg.blocks.guided_unet import GuidedUnet
from oncoseg.case import Task
from oncoseg.registry import Card

CARD = Card(
    "Meningioma segmentation in T1-weighted MRI leveraging global context and attention mechanisms",
    2021,
    arxiv="2101.07715",
    doi="10.3389/fradi.2021.711514",
    reading="Widths, and that gates lay both maps side by side, are those of the public code; "
    "pooling follows the plan, and the averaged image is as wide as its level.",
)


class Agunet(GuidedUnet):
    """alpha = sigmoid(psi(relu([W_x x, W_g g]))) of the skip x and of g, which comes from below.

    `gates`, `multi_scale` and `deep` leave out what they name where they are false. The last of
    `widths` repeats. Published: `widths=16x32x128x256x256`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 128, 128),
        gates: bool = True,
        multi_scale: bool = True,
        deep: bool = True,
    ) -> None:
        self.gating = gates
        super().__init__(task, widths, multi_scale=multi_scale, deep=deep)

    def gated(self, dims: int, width: int) -> nn.Module:
        """The gate of a level."""
        if not self.gating:
            return super().gated(dims, width)
        return AttentionGate(dims, width, width, max(1, width // 2), join="concat")
