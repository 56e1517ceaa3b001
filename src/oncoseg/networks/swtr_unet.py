"""SWTR-Unet: a ResNet, transformer blocks that attend to all and within windows, a decoder."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.pyramid import descended, finest, stretched
from oncoseg.blocks.resize import doubled, fitted, padded
from oncoseg.blocks.resnet_v2 import ResnetV2
from oncoseg.blocks.units import twice
from oncoseg.blocks.vit import VitBlock
from oncoseg.blocks.windows import SwinBlock
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Joint Liver and Hepatic Lesion Segmentation in MRI using a Hybrid CNN with Transformer Layers",
    2022,
    arxiv="2201.10981",
    doi="10.1016/j.cmpb.2023.107647",
    reading="No code is public: which ResNet, depth, heads and window are our reading; weights "
    "start anew, where the paper's come from ImageNet; 3-D is ours. In two minutes of a "
    "core it falls behind the U-Net on polyps (docs/networks), since its steps are fewer: "
    "after as many, the U-Net has about as much.",
)
STEP = 16  # voxels of a token along each axis


class SwtrUnet(Network):
    """A ResNet-v2 of `units` to a sixteenth of the size, `depth` pairs of transformer blocks.

    Of each pair the first attends to all tokens, the second within windows of `window` a side,
    shifted in every other pair. Then a U-Net's decoder, with skips at a half, quarter and eighth.
    With a depth of 0 it is a residual U-Net.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        units: tuple[int, ...] = (2, 2, 2),
        dim: int = 192,
        depth: int = 2,
        heads: int = 6,
        window: int = 7,
    ) -> None:
        super().__init__()
        if len(units) != 3:
            raise BadOption(f"SwtrUnet takes three units, not {units}")
        dims, sides = task.dims, (window,) * task.dims
        self.convolutions = ResnetV2(dims, task.inputs, width, units)
        self.widths = [*self.convolutions.widths[:3], dim]
        self.embed = CONV[dims](self.convolutions.widths[3], dim, 1)
        self.everywhere = nn.ModuleList(VitBlock(dim, heads) for _ in range(depth))
        self.nearby = nn.ModuleList(
            SwinBlock(dim, heads, sides, shifted=bool(place % 2)) for place in range(depth)
        )
        self.decoder = nn.ModuleList(
            twice(dims, fine + coarse, fine)
            for fine, coarse in zip(self.widths[:-1], self.widths[1:])
        )
        self.last = twice(dims, width, max(8, width // 2))
        self.head = CONV[dims](max(8, width // 2), task.outputs, 1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8 and, of the transformer, 1/16; S is padded to 16."""
        *skips, features = self.convolutions(padded(batch.image * batch.present, STEP))
        features = self.embed(features)
        shape, found = features.shape[2:], features.movedim(1, -1)
        for everywhere, nearby in zip(self.everywhere, self.nearby):
            found = everywhere(found.flatten(1, -2)).unflatten(1, shape)
            found = nearby(found)
        return [*skips, found.movedim(-1, 1)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = doubled(finest(descended(pyramid, (), self.decoder, stretched)))
        return [fitted(self.head(self.last(features)), batch.image)]
