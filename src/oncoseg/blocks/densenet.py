"""DenseNet, whose layers see all that came before them in their block, and a way back up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.units import MEAN, POOL, norm_of, unit

Step = tuple[int, ...]


def before(dims: int, inputs: int, width: int, kernel: int) -> nn.Sequential:
    """Norm, ReLU and a convolution without bias."""
    conv = CONV[dims](inputs, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(norm_of(dims, inputs, "batch"), nn.ReLU(), conv)


class DenseLayer(nn.Module):
    """1 x 1 to 4 `growth` channels, 3 x 3 to `growth`, laid behind what came in (Huang 2017)."""

    def __init__(self, dims: int, inputs: int, growth: int) -> None:
        super().__init__()
        narrow = before(dims, inputs, 4 * growth, 1)
        self.convs = nn.Sequential(narrow, before(dims, 4 * growth, growth, 3))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, inputs + growth, *S)."""
        return torch.cat([features, self.convs(features)], dim=1)


class Densenet(nn.Module):
    """A stem of 7 x 7, pooling, and dense blocks of `units` layers with half the channels between.

    (B, inputs, *S) -> `widths`, behind the stem and behind every block, finest first. `steps` are
    the strides of the stem, the pooling and of each mean between blocks. DenseNet-161 has a width
    of 96, a growth of 48 and 6, 12, 36 and 24 units.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        growth: int,
        units: Sequence[int],
        steps: Sequence[Step],
    ) -> None:
        super().__init__()
        self.stem = unit(dims, inputs, width, 7, stride=steps[0], bias=False)
        self.pool = POOL[dims](3, steps[1], 1)
        blocks, between, self.widths = [], [], [width]
        for block, count in enumerate(units):
            if block:
                between.append(before(dims, width, width // 2, 1))
                between[-1].append(MEAN[dims](steps[1 + block], steps[1 + block]))
                width //= 2
            layers = (DenseLayer(dims, width + layer * growth, growth) for layer in range(count))
            blocks.append(nn.Sequential(*layers))
            width += count * growth
            self.widths.append(width)
        self.blocks, self.between = nn.ModuleList(blocks), nn.ModuleList(between)
        self.last = nn.Sequential(norm_of(dims, width, "batch"), nn.ReLU())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features, finest first; the product of `steps` divides S."""
        features = self.stem(image)
        found = [features]
        features = self.blocks[0](self.pool(features))
        for between, block in zip(self.between, self.blocks[1:]):
            found.append(features)
            features = block(between(features))
        return [*found, self.last(features)]


class Rise(nn.Module):
    """Back to full size: nearest neighbours, with `skips` what is there added, 3 x 3, norm, ReLU.

    Each level is as wide as the one that is added next, the last one as `width`.
    """

    def __init__(
        self,
        dims: int,
        widths: Sequence[int],
        width: int,
        steps: Sequence[Step],
        *,
        skips: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        *fine, second, deep = widths
        wide = [deep, *([] if skips else [deep]), *reversed(fine)]
        wide += [*([fine[0]] if skips else []), width]
        self.project = CONV[dims](second, deep, 1) if skips else None
        convs = [unit(dims, a, b) for a, b in pairwise(wide)]
        convs[-1].insert(1, nn.Dropout(dropout))
        self.convs = nn.ModuleList(convs)
        self.steps = [tuple(map(float, step)) for step in reversed(steps)]

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Features, finest first -> (B, width, *S)."""
        *skips, features = pyramid
        for level, (conv, step) in enumerate(zip(self.convs, self.steps)):
            features = F.interpolate(features, scale_factor=step, mode="nearest")
            if self.project is not None and level < len(skips):
                skip = skips[-1 - level]
                features = features + (skip if level else self.project(skip))
            features = conv(features)
        return features
