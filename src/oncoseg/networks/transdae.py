"""TransDAE: attention over places and over channels in a hierarchy, skips through large kernels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.large_kernel import LargeKernelAttention
from oncoseg.blocks.linear_attention import DualBlock
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.patch_expand import PatchExpand
from oncoseg.blocks.resize import fitted, padded
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "TransDAE: Dual Attention Mechanism in a Hierarchical Transformer for Efficient Medical Image "
    "Segmentation",
    2024,
    arxiv="2409.02018",
    reading="No code is public. The encoder and its blocks are those of the public code of "
    "DAE-Former (MIT), on which it builds; how skips interact between scales is our "
    "reading; 3-D is ours. In two minutes of a core it falls behind the U-Net on polyps "
    "and hippocampi (docs/networks); of four pictures the smallest polyp is not learned by "
    "heart.",
)
KERNELS, STRIDES, STEP = (7, 3, 3), (4, 2, 2), 16


class Transdae(Network):
    """Overlapping patches to 1/4, 1/8 and 1/16, `depth` dual blocks at each; as many going up.

    Going up is patch expanding, in two steps of 2 and one of 4. Published: `widths=128x320x512`.
    """

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (32, 64, 128),
        depth: int = 2,
        heads: int = 8,
    ) -> None:
        super().__init__()
        if len(widths) != len(KERNELS) or depth < 1:
            raise BadOption(
                f"Transdae takes {len(KERNELS)} widths and a depth of at least 1, not {widths} and "
                f"{depth}"
            )
        dims = task.dims
        self.widths = list(widths)
        self.embed = nn.ModuleList(
            CONV[dims](before, after, kernel, stride, kernel // 2)
            for (before, after), kernel, stride in zip(
                pairwise([task.inputs, *widths]), KERNELS, STRIDES
            )
        )
        self.embed_norm = nn.ModuleList(LayerNorm(width) for width in widths)
        self.encoder = nn.ModuleList(_blocks(dims, width, depth, heads) for width in widths)
        self.norm = nn.ModuleList(LayerNorm(width) for width in widths)
        finer = list(pairwise(widths))
        self.up = nn.ModuleList(PatchExpand(dims, coarse, fine) for fine, coarse in finer)
        self.skip = nn.ModuleList(Interaction(dims, fine) for fine, _ in finer)
        self.decoder = nn.ModuleList(_blocks(dims, fine, depth, heads) for fine, _ in finer)
        self.last = PatchExpand(dims, widths[0], widths[0], STRIDES[0])
        self.head = CONV[dims](widths[0], task.outputs, 1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/4, 1/8 and 1/16; S is padded to multiples of 16."""
        features, pyramid = padded(batch.image * batch.present, STEP), []
        stages = zip(self.embed, self.embed_norm, self.encoder, self.norm)
        for embed, enter, blocks, norm in stages:
            tokens = enter(embed(features).movedim(1, -1))
            features = norm(blocks(tokens)).movedim(-1, 1)
            pyramid.append(features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1].movedim(1, -1)
        for level in reversed(range(len(self.decoder))):
            above = self.up[level](features).movedim(-1, 1)
            features = self.decoder[level](self.skip[level](pyramid[level], above))
        logits = self.head(self.last(features).movedim(-1, 1))
        return [fitted(logits, batch.image)]


class Interaction(nn.Module):
    """Between scales: skip and what comes from below, side by side, and what a large kernel finds.

    y = W [x + x kernel(x)] with x = [skip; above].
    """

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.attention = LargeKernelAttention(dims, 2 * width)
        self.join = nn.Linear(2 * width, width)

    def forward(self, skip: Tensor, above: Tensor) -> Tensor:
        """Two of (B, width, *S) -> (B, *S, width)."""
        both = torch.cat([skip, above], dim=1)
        found: Tensor = self.join((both + self.attention(both)).movedim(1, -1))
        return found


def _blocks(dims: int, width: int, depth: int, heads: int) -> nn.Sequential:
    return nn.Sequential(*(DualBlock(dims, width, heads) for _ in range(depth)))
