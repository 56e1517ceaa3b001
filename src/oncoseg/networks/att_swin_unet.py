"""Att-SwinU-Net: Swin-Unet whose skips attend across contexts and lend their attention maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.heads import joined, parted
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.patch_expand import PatchExpand
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.windows import PatchMerging, SwinBlock, SwinStage
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Attention Swin U-Net: Cross-Contextual Attention Mechanism for Skin Lesion Segmentation",
    2022,
    arxiv="2210.16898",
    reading="Sizes are those of the public code (without a licence), which adds maps of attention "
    "after they were used and puts a class token in the place of a token. Here maps are "
    "mixed before they are applied, block by block and by a learned factor, and the class "
    "token moves all tokens. No stochastic depth; weights start anew; 3-D is ours. In two "
    "minutes of a core it falls behind the U-Net on polyps and hippocampi (docs/networks); "
    "of four pictures the smallest polyp is not learned by heart.",
)
WINDOW = {2: 7, 3: 4}  # of 343 patches one would be larger than what small scans have
PATCH, HEADS, LAYERS, CROSS_HEADS = 4, (3, 6, 12, 24), 2, 8


class AttSwinUnet(Network):
    """Patches of 4 voxels a side, four stages of `depths` blocks; widths double from `width`.

    The decoder goes up by patch expanding. At each level the skip and what comes from below attend
    to one another (`CrossContext`) and are put side by side, and blocks add the encoder's maps of
    attention to theirs (`spatial`). Windows have `window` patches a side; 0 means 7 in 2-D, as
    published, and 4 in 3-D. `dim` is the width of a head of the cross attention. Where `cross` and
    `spatial` are false it is Swin-Unet. Published: `width=96,dim=64`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 24,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        window: int = 0,
        dim: int = 16,
        cross: bool = True,
        spatial: bool = True,
    ) -> None:
        super().__init__()
        if width % HEADS[0] or len(depths) != len(HEADS) or any(n % 2 for n in depths):
            raise BadOption(
                f"AttSwinUnet takes a width that {HEADS[0]} divides and {len(HEADS)} even depths, "
                f"not {width} and {depths}"
            )
        dims, window = task.dims, window or WINDOW[task.dims]
        sides = (window,) * dims
        wide = [width * 2**stage for stage in range(len(depths))]
        self.widths = [*(2 * size for size in wide[:-1]), wide[-1]]
        self.embed = CONV[dims](task.inputs, width, PATCH, PATCH)
        self.embed_norm, self.norm = LayerNorm(width), LayerNorm(wide[-1])
        self.stages = nn.ModuleList(
            SwinStage(size, depth, heads, sides) for size, depth, heads in zip(wide, depths, HEADS)
        )
        self.merge = nn.ModuleList(PatchMerging(size, dims) for size in wide[:-1])
        self.up = nn.ModuleList(PatchExpand(dims, 2 * size, size) for size in wide[:-1])
        self.cross = nn.ModuleList(
            CrossContext(size, dim) if cross else Neither() for size in wide[:-1]
        )
        self.join = nn.ModuleList(nn.Linear(2 * size, size) for size in wide[:-1])
        self.decoder = nn.ModuleList(
            nn.ModuleList(
                Mixed(size, heads, window, dims, shifted=bool(place % 2), spatial=spatial)
                for place in range(depth)
            )
            for size, depth, heads in zip(wide[:-1], depths, HEADS)
        )
        self.last_norm = LayerNorm(width)
        self.last = PatchExpand(dims, width, width, PATCH)
        self.head = CONV[dims](width, task.outputs, 1, bias=False)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features at 1/4, 1/8, 1/16 and 1/32; S is padded to multiples of 32.

        Of a level but the coarsest: what its stage is given, beside what its last block is given.
        """
        step = PATCH * 2 ** len(self.merge)
        image = padded(batch.image * batch.present, step)
        features, pyramid = self.embed_norm(self.embed(image).movedim(1, -1)), []
        for level, merge in enumerate(self.merge):
            *before, last = self._blocks(level)
            inner = features
            for block in before:
                inner = block(inner)
            pyramid.append(torch.cat([features, inner], dim=-1).movedim(-1, 1))
            features = merge(last(inner))
        return [*pyramid, self.norm(self.stages[-1](features)).movedim(-1, 1)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = pyramid[-1].movedim(1, -1)
        for level in reversed(range(len(self.decoder))):
            given = pyramid[level].movedim(1, -1).chunk(2, dim=-1)
            both = self.cross[level](self.up[level](features), given[0])
            features = self.join[level](torch.cat(both, dim=-1))
            of_encoder = self._blocks(level)  # the first is not shifted, the last is
            for place, block in enumerate(self.decoder[level].children()):
                features = block(features, given[place % 2], of_encoder[-(place % 2)])
        features = self.last(self.last_norm(features)).movedim(-1, 1)
        return [fitted(self.head(features), batch.image)]

    def _blocks(self, level: int) -> list[nn.Module]:
        """The blocks of a stage of the encoder."""
        stage: Any = self.stages[level]
        return list(stage.blocks)


class Neither(nn.Module):
    """Both as they are."""

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps -> the same."""
        return first, second


class CrossContext(nn.Module):
    """The class token of each of two maps, its mean, attends to the tokens of the other, twice.

    Then each map is moved so that its mean is what its class token has become.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(ClassAttention(width, dim) for _ in range(LAYERS))
        self.second = nn.ModuleList(ClassAttention(width, dim) for _ in range(LAYERS))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two of (B, *S, width) -> the same."""
        tokens = first.flatten(1, -2), second.flatten(1, -2)
        means = [each.mean(dim=1, keepdim=True) for each in tokens]
        classes = list(means)
        for of_first, of_second in zip(self.first, self.second):
            classes[0] = classes[0] + of_first(classes[0], tokens[1])
            classes[1] = classes[1] + of_second(classes[1], tokens[0])
        moved = [
            (each + (after - before)).reshape(first.shape)
            for each, before, after in zip(tokens, means, classes)
        ]
        return moved[0], moved[1]


class ClassAttention(nn.Module):
    """A class token, normalised, attends to itself and to the tokens of another map."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        inner = CROSS_HEADS * dim
        self.norm = LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.both = nn.Linear(width, 2 * inner, bias=False)
        self.project = nn.Linear(inner, width)

    def forward(self, token: Tensor, others: Tensor) -> Tensor:
        """(B, 1, width) and (B, N, width) -> (B, 1, width)."""
        token = self.norm(token)
        key, value = self.both(torch.cat([token, others], dim=1)).chunk(2, dim=-1)
        query, key, value = (parted(each, CROSS_HEADS) for each in (self.query(token), key, value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.project(joined(mixed))
        return found


class Mixed(nn.Module):
    """A block of windows that applies A = A_own + factor A_encoder; without `spatial` A_own."""

    def __init__(
        self, width: int, heads: int, window: int, dims: int, *, shifted: bool, spatial: bool
    ) -> None:
        super().__init__()
        self.block = SwinBlock(width, heads, (window,) * dims, shifted=shifted)
        self.factor = nn.Parameter(torch.ones(())) if spatial else None

    def forward(self, features: Tensor, given: Tensor, encoder: SwinBlock) -> Tensor:
        """(B, *S, width), and what the encoder's block was given, -> (B, *S, width)."""
        factor = self.factor
        if factor is None:
            plain: Tensor = self.block(features)
            return plain
        normed = torch.cat([self.block.first(features), encoder.first(given)], dim=-1)

        def attend(tokens: Tensor, mask: Tensor | None) -> Tensor:
            own, others = tokens.chunk(2, dim=-1)
            weights, value = self.block.attention.weights(own, mask)
            lent, _ = encoder.attention.weights(others, mask)
            return self.block.attention.mixed((weights + factor * lent) @ value)

        features = features + self.block.within(normed, attend)
        answer: Tensor = features + self.block.mlp(self.block.second(features))
        return answer
