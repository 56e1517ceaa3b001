"""ResNet-v2 of BiT: weights standardised, group norms; (Kolesnikov 2020, arXiv 1912.11370)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, CONVOLVE, convolved, thin
from oncoseg.blocks.pyramid import climbed
from oncoseg.errors import BadOption

EPS = 1e-6


def standard(
    dims: int, inputs: int, width: int, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Module:
    """A convolution without bias whose weights are standardised."""
    return Standardised(dims, inputs, width, kernel, stride, padding)


class Standardised(nn.Module):
    """The weights of each output have mean 0 and variance 1 (Qiao 2019, arXiv 1903.10520)."""

    def __init__(
        self, dims: int, inputs: int, width: int, kernel: int, stride: int, padding: int
    ) -> None:
        super().__init__()
        self.conv = CONV[dims](inputs, width, kernel, stride, padding, bias=False)
        self.dims, self.stride, self.padding = dims, stride, padding

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        weight = self.conv.weight.float()
        axes = tuple(range(1, weight.ndim))
        variance, mean = torch.var_mean(weight, dim=axes, keepdim=True, correction=0)
        weight = (weight - mean) * torch.rsqrt(variance + 1e-5)
        given = {"stride": self.stride, "padding": self.padding}
        convolve = CONVOLVE[self.dims]
        return convolved(
            lambda values: convolve(values, weight.to(values.dtype), **given),
            features,
            exact=thin(features, weight.shape[2:]),
        )


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 round a shortcut, projected where size or width change."""

    def __init__(self, dims: int, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        inner = width // 4
        self.convs = nn.ModuleList(
            [
                standard(dims, inputs, inner, 1),
                standard(dims, inner, inner, 3, stride, 1),
                standard(dims, inner, width, 1),
            ]
        )
        self.norms = nn.ModuleList(
            nn.GroupNorm(min(32, size), size, eps=EPS) for size in (inner, inner, width)
        )
        self.project = (
            nn.Sequential(standard(dims, inputs, width, 1, stride), nn.GroupNorm(width, width))
            if stride > 1 or inputs != width
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        found = features
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            found = norm(conv(found))
            found = F.relu(found) if place < 2 else found
        return F.relu(self.project(features) + found)


class ResnetV2(nn.Module):
    """A stem of 7 x 7, pooling, and stages of `units` bottlenecks, each but the first strided.

    (B, inputs, *S) -> widths[0] at S/2, then widths[1] at S/4 and so on. Widths are `width`, then
    4, 8, 16 ... times it.
    """

    def __init__(self, dims: int, inputs: int, width: int, units: Sequence[int]) -> None:
        super().__init__()
        inner = [width * 2**stage for stage in range(len(units))]
        if width < 4 or width % 4 or any(size % min(32, size) for size in inner):
            raise BadOption(f"a ResNet-v2 has a width of 4, 8, 16 or a multiple of 32, not {width}")
        self.widths = [width, *(4 * width * 2**stage for stage in range(len(units)))]
        self.stem = nn.Sequential(
            standard(dims, inputs, width, 7, 2, 3),
            nn.GroupNorm(min(32, width), width, eps=EPS),
            nn.ReLU(),
        )
        self.pool = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[dims](3, 2, 1)
        pairs = zip(self.widths[:-1], self.widths[1:], units)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Bottleneck(
                        dims, after if unit else before, after, 2 if stage and not unit else 1
                    )
                    for unit in range(count)
                )
            )
            for stage, (before, after, count) in enumerate(pairs)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features from half the resolution on, finest first."""
        features = self.stem(image)
        return [features, *climbed(self.stages, self.pool(features))]
