"""xLSTM-UNet: a residual U-Net with matrix memories at the bottleneck, or after encoder stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from oncoseg.blocks.convs import ResidualBlock
from oncoseg.blocks.mlstm import Vil
from oncoseg.blocks.sequence_unet import AlongVoxels, SequenceUnet
from oncoseg.case import Task
from oncoseg.registry import Card

CARD = Card(
    "xLSTM-UNet can be an Effective 2D & 3D Medical Image Segmentation Backbone with Vision-LSTM "
    "(ViL) better than its Mamba Counterpart",
    2024,
    arxiv="2407.01530",
    reading="Where layers stand is as in the public code; its cell is written from the papers of "
    "xLSTM and Vision-LSTM. A layer norm that the code holds and does not use is left out. "
    "In two minutes of a core it falls behind the U-Net on polyps (docs/networks), since "
    "its steps are fewer: after as many, the U-Net has about as much.",
)


class XlstmUnet(SequenceUnet):
    """`where`: `bottleneck` (or `bot`) puts one Vision-LSTM block after the last stage.

    `encoder` (or `enc`) puts them after the fourth stage and those below in 3-D, with a residual
    block after each of the first three; in 2-D after every other stage from the last up, but the
    second, which has a residual block, and the finest stage of the decoder leaves out its skip.
    There, a stage with no more voxels than channels takes channels as tokens, so the network sees
    `task.patch` alone. The rest is as in `blocks.sequence_unet`.
    """

    def __init__(
        self,
        task: Task,
        *,
        where: str = "bottleneck",
        width: int = 32,
        limit: int = 0,
        blocks: int = 2,
        heads: int = 4,
    ) -> None:
        self.heads_of_memory = heads
        sizes = {"width": width, "limit": limit, "blocks": blocks, "further": heads}
        super().__init__(task, where=where, **sizes)

    def layer(self, dims: int, level: int, sizes: Sequence[int]) -> nn.Module | None:
        """A Vision-LSTM block, a residual block or nothing, as the public code has it."""
        before, width = len(self.widths) - 1 - level, self.widths[level]
        early = level < 3 if dims == 3 else level == 1
        if sizes and early and before:
            return ResidualBlock(dims, width, width)
        if before == 0 or (sizes and level > 1 and (dims == 3 or before % 2 == 0)):
            return Memory(width, sizes, self.heads_of_memory)
        return None

    def joined(self, dims: int, level: int) -> int:
        """The finest level of the 2-D encoder form leaves out its skip."""
        return 1 if self.patch and dims == 2 and level == 0 else 2


class Memory(AlongVoxels):
    """A Vision-LSTM block."""

    def __init__(self, width: int, sizes: Sequence[int], heads: int) -> None:
        super().__init__(width, sizes)
        self.vil = Vil(self.size, heads=heads)

    def mixed(self, tokens: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""
        found: Tensor = self.vil(tokens)
        return found
