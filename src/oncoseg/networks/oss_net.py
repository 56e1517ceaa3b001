"""OSS-Net: a decoder that answers at points, from the place, what is near, and a code of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oncoseg.blocks.convs import CONV, POOL
from oncoseg.blocks.implicit import ConditionalNorm, Fourier, Pade, around, every, in_stages
from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.resize import resized
from oncoseg.blocks.units import BATCH
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "OSS-Net: Memory Efficient High Resolution Semantic Segmentation of 3D Medical Data",
    2021,
    arxiv="2110.10640",
    reading="As in the public code, but places run from 0 to 1 along each axis, codes are pooled "
    "to the size that the planned patch gives, and points away from the surface take the "
    "logits of the coarser grid; 2-D and several outputs are ours. In two minutes of a "
    "core it falls behind the U-Net on polyps and hippocampi (docs/networks), in 21 steps on "
    "the latter; of four pictures the smallest polyp is not learned by heart. By its own "
    "method, `occupancy`, it was not compared.",
)
PATCHES = ("none", "local", "both")
BLOCKS, LEAST, MANY = 5, 32, 2**14
MAX: dict[int, Any] = {2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


class OssNet(Network):
    """The image at half size is encoded by residual blocks, and pooled to codes of `task.patch`.

    A point's place, code and, mapped by two convolutions, the patch of `side` voxels round it
    (`patches` of local; both: and one of twice the reach) go through five residual layers of
    `features`, whose norms a code conditions. `fourier` adds waves of the place, `skips` gives each
    layer a code of its own from all levels, `auxiliary` coarse logits of the encoder. Asked for all
    voxels it asks at every `stages`[0]th, then between those that differ from their neighbours.
    Train it by the method `occupancy`. Published: widths=16x32x64x128, features=512, side=7;
    O-Net has patches=none.
    """

    gives = ("points",)

    def __init__(
        self,
        task: Task,
        *,
        widths: tuple[int, ...] = (8, 16, 32, 64),
        features: int = 64,
        side: int = 5,
        patches: str = "both",
        skips: bool = True,
        fourier: bool = False,
        auxiliary: bool = False,
        stages: tuple[int, ...] = (4, 2, 1),
    ) -> None:
        super().__init__()
        if patches not in PATCHES or side % 2 == 0 or stages[-1:] != (1,):
            raise BadOption(
                f"OssNet takes patches of {', '.join(PATCHES)}, an odd side and stages that end "
                f"with 1, not '{patches}', {side} and {stages}"
            )
        if any(coarse != 2 * fine for coarse, fine in pairwise(stages)):
            raise BadOption(f"each of the stages of OssNet is half of the one before, not {stages}")
        dims, self.exclusive = task.dims, task.exclusive
        self.widths, self.stages, self.side = list(widths), stages, side
        self.grid = [-(-size // 2 ** len(widths)) for size in halved(task.patch)]
        known = math.prod(self.grid)
        inputs = [task.inputs, *widths]
        self.encoder = nn.ModuleList(Residual(dims, a, b) for a, b in zip(inputs, widths))
        self.levels = nn.ModuleList(
            code(dims, width, width // 2, bias=False) for width in (widths if skips else ())
        )
        summed, count = (sum(w // 2 for w in widths), BLOCKS + 1) if skips else (widths[-1], 1)
        self.code = code(dims, summed, count)
        self.auxiliary = CONV[dims](widths[-1], task.outputs, 5, 1, 2) if auxiliary else None
        self.waves = Fourier(dims) if fourier else nn.Identity()
        self.channels = {"none": 0, "local": task.inputs, "both": 2 * task.inputs}[patches]
        size = dims + (32 if fourier else 0) + known
        self.patch: nn.Module = nn.Identity()
        if self.channels:
            self.patch = near(dims, self.channels, side)
            size += side**dims
        self.blocks = nn.ModuleList(
            Layer(features if place else size, features, known) for place in range(BLOCKS)
        )
        self.head = nn.Linear(features, task.outputs, bias=False)
        self.alone = "where it asks next depends on what it was answered, which no graph can say"

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^(i + 2)), finest first; S is at least 64."""
        image = batch.image * batch.present
        return climbed(self.encoder, resized(image, halved(image.shape[2:])))

    def codes(self, pyramid: list[Tensor]) -> Tensor:
        """(B, 1 or 6, known): the first enters with the points, the others condition layers."""
        pool = MAX[pyramid[0].ndim - 2]
        small = [pool(level, self.grid) for level in (pyramid if self.levels else pyramid[-1:])]
        joined = small[0]
        if self.levels:
            joined = torch.cat([layer(each) for layer, each in zip(self.levels, small)], dim=1)
        found: Tensor = self.code(joined).flatten(2)
        return found

    def at(self, codes: Tensor, image: Tensor, places: Tensor) -> Tensor:
        """Logits (B, outputs, P) of an image (B, M, *S), 0 where absent, at voxels (B, P, dims)."""
        size = torch.tensor(image.shape[2:], device=image.device)
        parts = [self.waves(places / (size - 1).clamp(min=1))]
        if self.channels:
            seen = around(image, places, self.side)
            if self.channels > image.shape[1]:
                seen = torch.cat([seen, around(image, places, self.side, pooled=True)], dim=2)
            mapped = self.patch(seen.flatten(0, 1))
            parts.append(mapped.reshape(*places.shape[:2], -1))
        parts.append(codes[:, :1].expand(-1, places.shape[1], -1))
        points = torch.cat(parts, dim=-1)
        for place, block in enumerate(self.blocks):
            points = block(points, codes[:, place + 1 if self.levels else 0])
        logits: Tensor = self.head(points).transpose(1, 2)
        return logits

    def coarse(self, pyramid: list[Tensor]) -> list[Tensor]:
        """The logits of the encoder, if it has any."""
        return [] if self.auxiliary is None else [self.auxiliary(pyramid[-1])]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S): of all voxels in training, then coarse ones; else in stages."""
        image, codes = batch.image * batch.present, self.codes(pyramid)
        if self.training:
            return [self._dense(codes, image), *self.coarse(pyramid)]
        items = []
        for known, one in zip(codes.split(1), image.split(1)):

            def ask(places: Tensor, known: Tensor = known, one: Tensor = one) -> Tensor:
                return self.at(known, one, places[None])[0]

            items.append(in_stages(ask, image.shape[2:], self.stages, exclusive=self.exclusive))
        return [torch.stack(items)]

    def _dense(self, codes: Tensor, image: Tensor) -> Tensor:
        """Logits of all voxels, drawn into groups: norms see a sample of the image in each.

        Groups are computed again for their gradient, so that one of them is held at a time.
        """
        places = every(image.shape[2:], 1, image.device).flatten(0, -2)
        order = torch.randperm(len(places), device=image.device)
        groups = [places[some].expand(len(image), -1, -1) for some in order.split(MANY)]
        if len(groups) == 1:
            found = [self.at(codes, image, groups[0])]
        else:
            found = [checkpoint(self.at, codes, image, g, use_reentrant=False) for g in groups]
        logits = torch.cat(found, dim=2)[:, :, torch.argsort(order)]
        return logits.unflatten(2, image.shape[2:])


class Residual(nn.Module):
    """Two convolutions with batch norms, the mean of two voxels between, round a projection."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        self.first = CONV[dims](inputs, width, 3, padding=1, bias=False)
        self.second = CONV[dims](width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(BATCH[dims](width) for _ in range(2))
        self.acts = nn.ModuleList(Pade() for _ in range(2))
        same = inputs == width
        self.project = nn.Identity() if same else CONV[dims](inputs, width, 1, bias=False)
        self.pool = POOL[dims]

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/2), rounded up."""
        found = self.acts[0](self.norms[0](self.first(features)))
        found = self.norms[1](self.second(self.pool(found, 2, ceil_mode=True)))
        shortcut = self.pool(self.project(features), 2, ceil_mode=True)
        answer: Tensor = self.acts[1](found + shortcut)
        return answer


class Layer(nn.Module):
    """Two linear maps with conditional norms round a shortcut; (B, P, inputs) -> (B, P, width)."""

    def __init__(self, inputs: int, width: int, known: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(ConditionalNorm(width, known) for _ in range(2))
        self.acts = nn.ModuleList(Pade() for _ in range(2))
        self.project = nn.Identity() if inputs == width else nn.Linear(inputs, width)

    def forward(self, points: Tensor, known: Tensor) -> Tensor:
        """(B, P, inputs) and (B, known) -> (B, P, width)."""
        found = self.acts[0](self.norms[0](self.first(points), known))
        found = self.norms[1](self.second(found), known)
        answer: Tensor = self.acts[1](found + self.project(points))
        return answer


def code(dims: int, inputs: int, width: int, *, bias: bool = True) -> nn.Sequential:
    """A convolution of 5 with its norm and activation."""
    conv = CONV[dims](inputs, width, 5, padding=2, bias=bias)
    return nn.Sequential(conv, BATCH[dims](width), Pade())


def near(dims: int, inputs: int, side: int) -> nn.Sequential:
    """(N, inputs, side, ...) -> (N, 1, side, ...) by two convolutions as large as the patch."""
    inner, padding = max(1, inputs // 2), side // 2
    first = CONV[dims](inputs, inner, side, padding=padding)
    return nn.Sequential(first, Pade(), CONV[dims](inner, 1, side, padding=padding), Pade())


def halved(shape: Sequence[int]) -> list[int]:
    """The size at which an image is encoded."""
    return [max(LEAST, -(-int(size) // 2)) for size in shape]
