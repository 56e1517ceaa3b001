"""DAU-Net: attention over positions and channels at the bottleneck, which guides the decoder."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.attention import ChannelAttention, PositionAttention
from oncoseg.blocks.convs import CONV
from oncoseg.blocks.guided_unet import GuidedUnet
from oncoseg.blocks.units import SPATIAL, norm_of, unit
from oncoseg.case import Task
from oncoseg.registry import Card

CARD = Card(
    "Meningioma segmentation in T1-weighted MRI leveraging global context and attention mechanisms",
    2021,
    arxiv="2101.07715",
    doi="10.3389/fradi.2021.711514",
    reading="Blocks of the bottleneck are those of the public code; pooling follows the plan, and "
    "the averaged image is as wide as its level. In two minutes of a core it falls behind "
    "the U-Net on polyps (docs/networks), but learns four polyps by heart.",
)


class Daunet(GuidedUnet):
    """Position and channel attention side by side, summed; `guided` brings it to every level.

    `multi_scale` and `deep` leave out what they name where they are false. The last of `widths`
    repeats. Published: `widths=16x32x128x256x256`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 128, 128),
        guided: bool = True,
        multi_scale: bool = True,
        deep: bool = True,
    ) -> None:
        super().__init__(task, widths, multi_scale=multi_scale, deep=deep, guided=guided)

    def bottleneck(self, dims: int, width: int) -> nn.Module:
        """Dual attention."""
        return Dual(dims, width)


class Dual(nn.Module):
    """Both attentions, each between two convolutions, then one of 1 x 1 and a norm."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                unit(dims, width, width),
                attention,
                SPATIAL[dims](0.5),
                CONV[dims](width, width, 3, padding=1),
            )
            for attention in (PositionAttention(dims, width), ChannelAttention())
        )
        self.last = nn.Sequential(
            SPATIAL[dims](0.5), CONV[dims](width, width, 1), norm_of(dims, width, "batch")
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        both = [branch(features) for branch in self.branches]
        found: Tensor = self.last(both[0] + both[1])
        return found
