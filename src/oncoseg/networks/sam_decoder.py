"""A promptable mask decoder, as of Segment Anything, on the encoder of any other network."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, ConvNormAct
from oncoseg.blocks.encoders import encoder_of
from oncoseg.blocks.heads import joined, parted
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.pyramid import shrink
from oncoseg.blocks.resize import resized
from oncoseg.case import Batch, Prompts, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Segment Anything",
    2023,
    arxiv="2304.02643",
    reading="One mask token an output and no IoU head. Levels coarser than the one that attends "
    "are added to it, finer ones are skips; no mask is an empty mask with a flag. Prompts "
    "and image attend to what is near from the start; without, short training did not "
    "follow clicks. In two minutes of a core it falls behind the U-Net on polyps "
    "(docs/networks), since its steps are fewer: after as many, the U-Net has about as "
    "much.",
)
NOTHING, POINT, CORNER, KINDS = 0, 1, 3, 5  # rows: nothing, background, foreground, two corners
SHARP = 2.0  # gain of queries and keys at the start, in attention between prompts and image


class SamDecoder(Network):
    """Prompts and image attend to one another on level `level` of the encoder's pyramid.

    Places in the patch are coded by random Fourier features, `width` numbers a token. Padding
    (a point of kind -1, a box that ends before it starts) changes nothing.
    """

    gives = ("prompts", "boxes")
    waves: Tensor

    def __init__(
        self,
        task: Task,
        *,
        encoder: str = "unet",
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        level: int = 2,
    ) -> None:
        super().__init__()
        if width % (4 * heads) or level < 0:
            raise BadOption(
                f"SamDecoder takes a width divisible by {4 * heads} (four times heads) and a level "
                f"of at least 0, not {width} and {level}"
            )
        self.encoder = encoder_of(encoder, task)
        self.widths = list(self.encoder.widths)
        dims, self.level = task.dims, min(level, len(self.widths) - 1)
        conv = CONV[dims]
        self.neck = nn.ModuleList(conv(each, width, 1) for each in self.widths[self.level :])
        # No instance norm: it would hide whether there is a mask, which is the same everywhere.
        self.mask = nn.Sequential(
            *(conv(2, width // 8, 2, 2), nn.GELU(), conv(width // 8, width // 4, 2, 2), nn.GELU()),
            conv(width // 4, width, 1),
        )
        self.register_buffer("waves", torch.randn(dims, width // 2))
        self.kinds = nn.Parameter(torch.randn(KINDS, width))
        self.tokens = nn.Parameter(torch.randn(task.outputs, width))
        self.layers = nn.ModuleList(TwoWay(width, heads) for _ in range(depth))
        self.last = Attention(width, heads, width // 2, near=True)
        self.norm = LayerNorm(width)
        finer = self.widths[: self.level]
        self.down = nn.ModuleList(
            conv(wide, fine, 1) for fine, wide in zip(finer, [*finer[1:], width])
        )
        self.skips = nn.ModuleList(conv(fine, fine, 1) for fine in finer)
        self.up = nn.ModuleList(ConvNormAct(dims, fine, fine) for fine in finer)
        last = finer[0] if finer else width
        self.weights = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, last))
            for _ in range(task.outputs)
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """The encoder's pyramid."""
        return self.encoder.encode(batch)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """[logits (B, outputs, *S)] of what `batch.prompts` points at."""
        shape = tuple(batch.image.shape[2:])
        image = self._neck(pyramid)
        grid = tuple(image.shape[2:])
        image = image + self.mask(_mask(batch.prompts, image))
        prompts, said = self._prompts(batch.prompts, shape)
        tokens = torch.cat([self.tokens.expand(len(image), -1, -1), prompts], dim=1)
        said = F.pad(said, (len(self.tokens), 0), value=True)[:, None, None]
        codes, places = tokens, self._code(_centres(grid, image))[None]
        flat = image.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens, flat = layer(tokens, flat, codes, places, said)
        tokens = self.norm(tokens + self.last(tokens + codes, flat + places, flat))
        features = self._upscaled(flat.transpose(1, 2).unflatten(2, grid), pyramid)
        weights = torch.stack([head(tokens[:, row]) for row, head in enumerate(self.weights)], 1)
        logits = (weights @ features.flatten(2)).unflatten(2, features.shape[2:])
        return [resized(logits, shape)]

    def _neck(self, pyramid: list[Tensor]) -> Tensor:
        """(B, width, *grid): the attending level and, up-sampled, what is coarser."""
        coarse = pyramid[self.level :]
        total: Tensor = self.neck[0](coarse[0])
        for conv, features in zip(list(self.neck)[1:], coarse[1:]):
            total = total + resized(conv(features), coarse[0].shape[2:])
        return total

    def _upscaled(self, features: Tensor, pyramid: list[Tensor]) -> Tensor:
        """(B, width, *grid) -> (B, widths[0], *S_0), with the finer levels as skips."""
        for level in reversed(range(self.level)):
            fine = resized(self.down[level](features), pyramid[level].shape[2:])
            features = self.up[level](fine + self.skips[level](pyramid[level]))
        return features

    def _prompts(self, prompts: Prompts, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + P + 2 Q, width) and which of them were said, (B, 1 + P + 2 Q) boolean.

        The first is always there and says nothing, so that no prompts are a prompt too.
        """
        size = prompts.points.new_tensor(shape)
        kind = prompts.foreground.long()
        points = self._code((prompts.points + 0.5) / size) + self.kinds[(POINT + kind).clamp(0)]
        box = self._code((prompts.boxes + 0.5) / size) + self.kinds[CORNER:]
        real = (prompts.boxes[:, :, 1] >= prompts.boxes[:, :, 0]).all(-1)
        nothing = self.kinds[NOTHING].expand(len(points), 1, -1)
        said = [torch.ones_like(kind[:, :0]).bool(), kind >= 0, real.repeat_interleave(2, dim=1)]
        return (
            torch.cat([nothing, points, box.flatten(1, 2)], dim=1),
            F.pad(torch.cat(said, dim=1), (1, 0), value=True),
        )

    def _code(self, places: Tensor) -> Tensor:
        """Places (..., dims) in [0, 1] -> random Fourier features (..., width)."""
        phase = 2 * math.pi * (2 * places - 1) @ self.waves.to(places.dtype)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class Attention(nn.Module):
    """Scaled dot-product attention through `inner` numbers a token.

    `near` lets places attend to what is near them from the start: keys are first read as queries
    are, so that the product of two codes of places is largest where the places are one.
    """

    def __init__(self, width: int, heads: int, inner: int, *, near: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)
        if near:
            with torch.no_grad():
                self.ask.weight *= SHARP
                self.key.weight.copy_(self.ask.weight)

    def forward(self, ask: Tensor, key: Tensor, value: Tensor, said: Any = None) -> Tensor:
        """(B, N, width), (B, T, width), (B, T, width), (B, 1, 1, T) -> (B, N, width)."""
        ask, key, value = (
            parted(linear(each), self.heads)
            for linear, each in ((self.ask, ask), (self.key, key), (self.value, value))
        )
        found = F.scaled_dot_product_attention(ask, key, value, attn_mask=said)
        result: Tensor = self.out(joined(found))
        return result


class TwoWay(nn.Module):
    """Tokens attend to one another, then to the image; then the image attends to the tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.itself = Attention(width, heads, width)
        self.image, self.back = (Attention(width, heads, width // 2, near=True) for _ in range(2))
        self.mlp = nn.Sequential(
            nn.Linear(width, 8 * width), nn.ReLU(), nn.Linear(8 * width, width)
        )
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, codes: Tensor, places: Tensor, said: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, width) and image (B, N, width), both changed by one another."""
        asked = tokens + codes
        tokens = self.norms[0](tokens + self.itself(asked, asked, tokens, said))
        tokens = self.norms[1](tokens + self.image(tokens + codes, image + places, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        change = self.back(image + places, tokens + codes, tokens, said)
        return tokens, self.norms[3](image + change)


def _mask(prompts: Prompts, image: Tensor) -> Tensor:
    """The segmentation so far and whether there is one, (B, 2, 4 x grid)."""
    size = tuple(4 * length for length in image.shape[2:])
    if not prompts.mask.shape[1]:
        return image.new_zeros(len(image), 2, *size)
    mask = shrink(prompts.mask.to(image.dtype), size)
    return torch.cat([mask, torch.ones_like(mask)], dim=1)


def _centres(grid: tuple[int, ...], like: Tensor) -> Tensor:
    """Centres of voxels as parts of the image, (N, dims)."""
    axes = [(torch.arange(size, device=like.device) + 0.5) / size for size in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
