"""A residual U-Net on EfficientNet-B0: dilations at its bottom, channels weighed on its skips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.aspp import Aspp
from oncoseg.blocks.attention import SqueezeExcitation
from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.efficientnet import STEP, Efficientnet
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import doubled, fitted, padded
from oncoseg.blocks.units import norm_of
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Enhancing Brain Tumor Segmentation Using Channel Attention and Transfer learning",
    2025,
    arxiv="2501.11196",
    reading="No code is public: widths of the decoder, rates, and where channels are weighed are "
    "our reading. Weights start anew, where the paper's come from ImageNet, so that any "
    "number of modalities enters; 3-D is ours. In two minutes of a core it falls behind "
    "the U-Net on polyps, nuclei and hippocampi (docs/networks); of four pictures the "
    "smallest polyp is not learned by heart in 200 steps.",
)
RATES = (0, 6, 12, 18)  # 0 is a convolution of 1 x 1
PLACES = ("skips", "blocks", "none")
ENCODERS = ("efficientnet", "residual")


class ResunetEffb0CaAspp(Network):
    """EfficientNet-B0 to a thirty-second, ASPP of `context` channels, five residual blocks up.

    `attention` squeezes and excites the channels of the `skips`, of what `blocks` of the decoder
    give, or of `none`; a `context` of 0 leaves ASPP out. With neither it is the ResUNet on
    EfficientNet that the paper compares with, and with an `encoder` of `residual` blocks, as wide,
    its ResUNet. `width` multiplies the channels of B0. As we read the paper:
    `width=1,context=256,decoder=256x128x64x32x16`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: float = 0.5,
        context: int = 64,
        decoder: tuple[int, ...] = (64, 48, 32, 24, 16),
        attention: str = "skips",
        encoder: str = "efficientnet",
    ) -> None:
        super().__init__()
        if attention not in PLACES or encoder not in ENCODERS or len(decoder) != 5:
            raise BadOption(
                f"ResunetEffb0CaAspp takes attention on {', '.join(PLACES)}, an encoder of "
                f"{' or '.join(ENCODERS)} and five widths, not {attention}, {encoder}, {decoder}"
            )
        dims = task.dims
        efficient = Efficientnet(dims, task.inputs, width)
        self.widths = efficient.widths
        plain = encoder == "residual"
        self.backbone = Plain(dims, task.inputs, self.widths) if plain else efficient
        deep = self.widths[-1]
        # Of the means over all voxels a norm would make nothing; see Aspp.
        self.context = Aspp(dims, deep, context, RATES, mean=True) if context else nn.Identity()
        skips = [*self.widths[-2::-1], 0]
        wide = [context or deep, *decoder]
        weigh = [SqueezeExcitation(size) for size in _weighed(attention, skips, decoder)]
        self.weigh, self.where = nn.ModuleList(weigh), attention
        self.decoder = nn.ModuleList(
            Preactivated(dims, before + skip, after)
            for before, skip, after in zip(wide, skips, decoder)
        )
        self.head = CONV[dims](decoder[-1], task.outputs, 1)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^(i + 1)), finest first; S is padded to 32."""
        pyramid: list[Tensor] = self.backbone(padded(batch.image * batch.present, STEP))
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = self.context(pyramid[-1])
        for level, block in enumerate(self.decoder):
            features = doubled(features)
            if level < len(pyramid) - 1:
                skip = pyramid[-2 - level]
                skip = self.weigh[level](skip) if self.where == "skips" else skip
                features = torch.cat([features, skip], dim=1)
            features = block(features)
            features = self.weigh[level](features) if self.where == "blocks" else features
        return [fitted(self.head(features), batch.image)]


def _weighed(where: str, skips: list[int], decoder: tuple[int, ...]) -> list[int]:
    """Channels of what is weighed, from the coarsest on."""
    return {"skips": skips[:-1], "blocks": list(decoder), "none": []}[where]


class Preactivated(nn.Module):
    """Norm, ReLU and a convolution, twice, round a shortcut of 1 x 1."""

    def __init__(self, dims: int, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            norm_of(dims, inputs, "batch"),
            nn.ReLU(),
            CONV[dims](inputs, width, 3, stride, 1),
            norm_of(dims, width, "batch"),
            nn.ReLU(),
            CONV[dims](width, width, 3, 1, 1),
        )
        self.project = CONV[dims](inputs, width, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found: Tensor = self.convs(features) + self.project(features)
        return found


class Plain(nn.Module):
    """Residual blocks of `widths`, strided by 2 each; (B, inputs, *S) -> S/2, S/4 and so on."""

    def __init__(self, dims: int, inputs: int, widths: list[int]) -> None:
        super().__init__()
        self.stem = CONV[dims](inputs, widths[0], 3, padding=1)
        before = [widths[0], *widths]
        self.stages = nn.ModuleList(
            Preactivated(dims, fine, coarse, 2) for fine, coarse in zip(before, widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features, finest first."""
        return climbed(self.stages, self.stem(image))
