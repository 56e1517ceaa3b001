"""Reversible MBConv U-Net: depth costs no memory, for a stage keeps its last activation alone."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.mbconv import MbConv
from oncoseg.blocks.pyramid import climbed, descended, finest, summed
from oncoseg.blocks.reversible import Reversible
from oncoseg.blocks.units import levels
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Memory Efficient 3D U-Net with Reversible Mobile Inverted Bottlenecks for Brain Tumor "
    "Segmentation",
    2021,
    arxiv="2104.09648",
    doi="10.1007/978-3-030-72087-2_34",
    reading="No code is public: widths, expansion, group norms and what stands between the stages "
    "are our reading (skips are added as in the partially reversible U-Net, arXiv "
    "1906.06148); 2-D is ours. In two minutes of a core it falls behind the U-Net on "
    "polyps and hippocampi (docs/networks), since its steps are fewer: after as many, the "
    "U-Net has about as much on polyps.",
)


class RevMbconvUnet3d(Network):
    """Stages of `blocks` reversible blocks on the halves of the channels, up and down.

    y1 = x1 + F(x2) and y2 = x2 + G(y1), where F and G are mobile inverted bottlenecks of half the
    width, `expand` times as wide inside. A further one, strided by `task.strides`, leads to the
    next stage; the decoder narrows by 1 x 1, brings up linearly and adds the skip. Large:
    widths=48x96x192x384.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        blocks: int = 2,
        expand: int = 4,
    ) -> None:
        super().__init__()
        if any(width % 2 for width in widths) or min(*widths, blocks, expand) < 1:
            raise BadOption(
                "RevMbconvUnet3d takes even widths, and blocks and expand of at least 1, not "
                f"{widths}, {blocks} and {expand}"
            )
        dims, strides = task.dims, task.strides
        self.widths = levels(widths, len(strides) + 1)

        def stage(width: int) -> Reversible:
            return Reversible((inner(width // 2), inner(width // 2)) for _ in range(blocks))

        def inner(half: int) -> MbConv:
            return MbConv(dims, half, half, expand=expand, norm="group", shortcut=False)

        finer = list(zip(self.widths[:-1], self.widths[1:], strides))
        self.stem = CONV[dims](task.inputs, self.widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(width) for width in self.widths)
        self.down = nn.ModuleList(
            MbConv(dims, fine, coarse, expand=expand, stride=tuple(step), norm="group")
            for fine, coarse, step in finer
        )
        self.narrow = nn.ModuleList(CONV[dims](coarse, fine, 1) for fine, coarse, _ in finer)
        self.decoder = nn.ModuleList(stage(fine) for fine, _, _ in finer)
        self.head = CONV[dims](self.widths[0], task.outputs, 1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, self.stem(batch.image * batch.present), self.down)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S)."""
        return [self.head(finest(descended(pyramid, self.narrow, self.decoder, summed)))]
