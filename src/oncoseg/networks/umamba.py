"""U-Mamba: a residual U-Net with state-space layers at the bottleneck, or after encoder stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.scan import Mamba
from oncoseg.blocks.sequence_unet import AlongVoxels, SequenceUnet
from oncoseg.case import Task
from oncoseg.registry import Card

CARD = Card(
    "U-Mamba: Enhancing Long-range Dependency for Biomedical Image Segmentation",
    2024,
    arxiv="2401.04722",
    reading="The paper says little of where layers stand: as in the public code, 3-D encoders have "
    "one after every stage, 2-D ones after every other; kernels are 3 along every axis. In "
    "two minutes of a core it falls behind the U-Net on polyps (docs/networks), since its "
    "steps are fewer: after as many, the U-Net has about as much.",
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

    def layer(self, dims: int, level: int, sizes: Sequence[int]) -> nn.Module | None:
        """A Mamba layer where the paper's code has one."""
        before = len(self.widths) - 1 - level
        if before == 0 or (sizes and (dims == 3 or before % 2 == 0)):
            return StateSpace(self.widths[level], sizes, self.states)
        return None


class StateSpace(AlongVoxels):
    """Layer norm and a Mamba block, without a shortcut."""

    def __init__(self, width: int, sizes: Sequence[int], states: int) -> None:
        super().__init__(width, sizes)
        self.norm, self.mamba = LayerNorm(self.size), Mamba(self.size, states=states)

    def mixed(self, tokens: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""
        found: Tensor = self.mamba(self.norm(tokens))
        return found
