"""QTSeg: a token a class reads a pyramid from coarse to fine, and its product with it is a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.attention import ChannelAttention
from oncoseg.blocks.c2f import C2f, Sppf, silu
from oncoseg.blocks.convs import CONV, TRANSPOSED
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.queries import Attention
from oncoseg.blocks.queries import tokens as flat
from oncoseg.blocks.resize import doubled, fitted, padded
from oncoseg.blocks.units import norm_of
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "QTSeg: A Query Token-Based Dual-Mix Attention Framework with Multi-Level Feature Distribution "
    "for Medical Image Segmentation",
    2024,
    arxiv="2412.17241",
    reading="Sizes and order are those of the public code (without a licence). Weights start anew, "
    "where the paper's encoder comes from a detector; 3-D is ours. In two minutes of a "
    "core it falls behind the U-Net on polyps and hippocampi (docs/networks) and is slow: "
    "after 200 steps it has 0.90 of four polyps by heart.",
)
STEP = 32


class Qtseg(Network):
    """A detector's encoder to 1/8, 1/16 and 1/32, levels that are mixed, a decoder of tokens.

    `width` is that of the first convolution; levels are 4, 8 and 16 times as wide. `depths` counts
    the blocks of the decoder at each level, `hidden` is the width of their MLPs.
    Published: `width=16,hidden=2048`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 8,
        depths: tuple[int, ...] = (1, 2, 3),
        heads: int = 8,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        if len(depths) != 3:
            raise BadOption(f"Qtseg takes three depths, not {depths}")
        dims = task.dims
        self.widths = [4 * width, 8 * width, 16 * width]
        self.encoder = Encoder(dims, task.inputs, width)
        self.bridge = Distribution(dims, width)
        self.tokens = nn.Parameter(torch.randn(task.outputs, self.widths[-1]))
        self.levels = nn.ModuleList(
            Level(dims, wide, depth, heads, hidden) for wide, depth in zip(self.widths, depths)
        )
        after = [self.widths[0], *self.widths[:-1]]
        self.think = nn.ModuleList(
            nn.ModuleList(_mlp(wide, to) for _ in range(task.outputs))
            for wide, to in zip(self.widths, after)
        )
        fine = self.widths[0]
        self.up = nn.ModuleList(
            nn.Sequential(Up(dims, fine, fine // 2), Up(dims, fine // 2, fine))
            if level == 0
            else Up(dims, wide, to)
            for level, (wide, to) in enumerate(zip(self.widths, after))
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/8, 1/16 and 1/32; S is padded to multiples of 32."""
        image = padded(batch.image * batch.present, STEP, several=True)
        return self.bridge(self.encoder(image))

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]: products of tokens and features at half the size, enlarged."""
        tokens = self.tokens.expand(len(batch), -1, -1)
        features = torch.zeros_like(pyramid[-1])
        for level in reversed(range(len(self.levels))):
            tokens, features = self.levels[level](tokens, pyramid[level] + features)
            features = self.up[level](features)
            each: Any = self.think[level]
            tokens = torch.stack([one(token) for one, token in zip(each, tokens.unbind(1))], dim=1)
        masks = (tokens @ features.flatten(2)).unflatten(2, features.shape[2:])
        return [fitted(doubled(masks), batch.image)]


class Encoder(nn.Module):
    """Down by strided convolutions and `C2f`, up with skips, down again (FPN and PAN)."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        wide = [width * 2**level for level in range(5)]
        self.stem = silu(dims, inputs, width, 3, 2)
        self.down = nn.ModuleList(
            nn.Sequential(silu(dims, a, b, 3, 2), C2f(dims, b, b, depth, residual=True))
            for a, b, depth in zip(wide[:-1], wide[1:], (1, 2, 2, 1))
        )
        self.pool = Sppf(dims, wide[4])
        self.up = nn.ModuleList(
            [C2f(dims, wide[4] + wide[3], wide[3]), C2f(dims, wide[3] + wide[2], wide[2])]
        )
        self.again = nn.ModuleList([silu(dims, a, a, 3, 2) for a in wide[2:4]])
        self.join = nn.ModuleList(
            [C2f(dims, wide[2] + wide[3], wide[3]), C2f(dims, wide[3] + wide[4], wide[4])]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, inputs, *S) -> 4, 8 and 16 width channels at 1/8, 1/16 and 1/32."""
        found = climbed(self.down, self.stem(image))
        coarse = self.pool(found[3])
        middle = self.up[0](torch.cat([_twice(coarse), found[2]], dim=1))
        pyramid = [self.up[1](torch.cat([_twice(middle), found[1]], dim=1))]
        for again, join, skip in zip(self.again, self.join, (middle, coarse)):
            pyramid.append(join(torch.cat([again(pyramid[-1]), skip], dim=1)))
        return pyramid


class Distribution(nn.Module):
    """Each level gets half of its channels from itself and a quarter from each of the others."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        shares = ((2, 1, 1), (2, 4, 2), (4, 4, 8))
        self.parts = nn.ModuleList(
            nn.ModuleList(
                _moved(dims, width * 2 ** (source + 2), width * share, target - source)
                for source, share in enumerate(row)
            )
            for target, row in enumerate(shares)
        )

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Three levels -> three levels."""
        rows: Any = self.parts
        return [
            torch.cat([part(level) for part, level in zip(row, pyramid)], dim=1) for row in rows
        ]


class Level(nn.Module):
    """`depth` blocks of dual-mix attention, then tokens attend to the features once more."""

    waves: Tensor

    def __init__(self, dims: int, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(dims, width // 2))
        self.blocks = nn.ModuleList(DualMix(dims, width, heads, hidden) for _ in range(depth))
        self.last, self.norm = Attention(width, heads, inner=width // 2), LayerNorm(width)

    def forward(self, given: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, width) and features (B, width, *S), both changed by one another."""
        places = self._code(features.shape[2:], features)
        tokens = given
        for block in self.blocks:
            tokens, features = block(tokens, features, places)
        image = flat(features)
        heard = self.last(tokens + given, image + flat(places), image)
        return self.norm(tokens + heard), features

    def _code(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """(1, width, *S): sines and cosines of random waves of the place, from -1 to 1."""
        axes = [(2 * torch.arange(size, device=like.device) + 1) / size - 1 for size in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).to(self.waves)
        phase = 2 * math.pi * (grid.unsqueeze(-1) * self.waves).sum(dim=-2)  # not in bfloat16
        return torch.cat([phase.sin(), phase.cos()], dim=-1).movedim(-1, 0)[None].to(like)


class DualMix(nn.Module):
    """Tokens read the features through a gate over places and through attention over channels.

    Then the features read the tokens.
    """

    def __init__(self, dims: int, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.gate = CONV[dims](2, 1, 7, padding=3, bias=False)
        self.channels = ChannelAttention()
        self.of_places, self.of_channels, self.back = (
            Attention(width, heads, inner=width // 2) for _ in range(3)
        )
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(2))

    def forward(self, tokens: Tensor, features: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, width), features (B, width, *S), codes of places -> tokens, features."""
        placed = features + places
        pooled = torch.cat([placed.mean(1, keepdim=True), placed.amax(1, keepdim=True)], dim=1)
        gated = flat(placed + placed * torch.sigmoid(self.gate(pooled)))
        mixed = flat(self.channels(placed))
        heard = self.of_places(tokens, gated, gated) + self.of_channels(tokens, mixed, mixed)
        asked = self.norms[0](heard + tokens)
        change = self.back(gated + mixed + flat(places), asked, asked)
        features = features + change.transpose(1, 2).reshape(features.shape)
        return tokens + self.norms[1](self.mlp(asked)), features


class Up(nn.Module):
    """Twice as large by a transposed convolution, norm over channels, GELU."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        self.conv, self.norm = TRANSPOSED[dims](inputs, width, 2, 2), LayerNorm(width, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *2S)."""
        found = self.norm(self.conv(features).movedim(1, -1)).movedim(-1, 1)
        return F.gelu(found)


def _mlp(width: int, outputs: int) -> nn.Sequential:
    inner = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*inner, nn.Linear(width, outputs))


def _twice(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def _moved(dims: int, inputs: int, width: int, down: int) -> nn.Sequential:
    """So many levels down by one strided convolution, or up by one transposed."""
    if down >= 0:
        return silu(dims, inputs, width, 3 if down else 1, 2**down)
    conv = TRANSPOSED[dims](inputs, width, 2**-down, 2**-down, bias=False)
    return nn.Sequential(conv, norm_of(dims, width, "batch"), nn.SiLU())
