"""Window attention upsampling: skips ask, coarse features answer, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import resized
from oncoseg.blocks.units import POOL, twice
from oncoseg.blocks.windows import WindowCrossAttention
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "More than Encoder: Introducing Transformer Decoder to Upsample",
    2021,
    arxiv="2106.10637",
    reading="No code is public: how the attention decoder is wired, and that skips are put beside "
    "what it gives, is our reading; windows have a bias for each offset. Strides follow "
    "the plan; 3-D is ours.",
)


class Wau(Network):
    """A U-Net of two convolutions a stage that goes up by `Upsample` in windows of `window`.

    Widths double from `width` to `limit`. Where `concat` is false, skips enter as queries
    alone.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        limit: int = 256,
        window: int = 4,
        heads: int = 4,
        concat: bool = True,
    ) -> None:
        super().__init__()
        if window < 1:
            raise BadOption(f"Wau takes windows of at least 1, not {window}")
        dims, strides, self.concat = task.dims, task.strides, concat
        self.widths = [min(width * 2**level, limit) for level in range(len(strides) + 1)]
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in strides)
        self.encoder = nn.ModuleList(
            twice(dims, before, after) for before, after in pairwise([task.inputs, *self.widths])
        )
        levels = list(zip(self.widths[:-1], self.widths[1:], strides))
        self.up = nn.ModuleList(
            Upsample(dims, coarse, fine, step, window, heads) for fine, coarse, step in levels
        )
        parts = 2 if concat else 1
        self.decoder = nn.ModuleList(twice(dims, parts * fine, fine) for fine, _, _ in levels)
        self.head = CONV[dims](self.widths[0], task.outputs, 1)
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        return climbed(self.encoder, batch.image * batch.present, self.pool)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1]
        for level in reversed(range(len(self.decoder))):
            skip = pyramid[level]
            above = self.up[level](features, skip)
            joined = torch.cat([above, skip], dim=1) if self.concat else above
            features = self.decoder[level](joined)
        return [self.head(features)]


class Upsample(nn.Module):
    """AU(low, high) = A + MLP(norm(A)) + bilinear(W low), A = attention(norm(high), norm(low))."""

    def __init__(
        self, dims: int, coarse: int, fine: int, stride: Sequence[int], window: int, heads: int
    ) -> None:
        super().__init__()
        self.point = CONV[dims](coarse, fine, 1)
        self.of_fine, self.of_coarse = LayerNorm(fine), LayerNorm(coarse)
        self.attention = WindowCrossAttention(fine, coarse, (window,) * dims, stride, heads)
        self.norm = LayerNorm(fine)
        self.mlp = nn.Sequential(nn.Linear(fine, 4 * fine), nn.GELU(), nn.Linear(4 * fine, fine))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, coarse, *S / stride) and (B, fine, *S) -> (B, fine, *S)."""
        plain = resized(self.point(low), high.shape[2:])
        fine, coarse = self.of_fine(high.movedim(1, -1)), self.of_coarse(low.movedim(1, -1))
        found = self.attention(fine, coarse)
        found = found + self.mlp(self.norm(found))
        return plain + found.movedim(-1, 1)
