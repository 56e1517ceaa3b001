"""ResNeXt: bottlenecks whose middle is convolved in groups (Xie 2017, arXiv 1611.05431)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.pyramid import climbed
from oncoseg.blocks.units import POOL, unit

SHARE = 4 / 64  # of a stage's width, in every group of its blocks


class ResnextBlock(nn.Module):
    """1 x 1, 3 x 3 in groups and 1 x 1, round a shortcut, projected where size or width change."""

    def __init__(self, dims: int, inputs: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        inner, outputs = max(1, int(width * SHARE)) * groups, 4 * width
        self.convs = nn.Sequential(
            unit(dims, inputs, inner, 1, bias=False),
            unit(dims, inner, inner, stride=stride, groups=groups, bias=False),
            unit(dims, inner, outputs, 1, act="", bias=False),
        )
        same = stride == 1 and inputs == outputs
        project = unit(dims, inputs, outputs, 1, stride=stride, act="", bias=False)
        self.project = nn.Identity() if same else project

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, 4 width, *S/stride)."""
        return F.relu(self.convs(features) + self.project(features))


class Resnext(nn.Module):
    """A stem of 7 x 7, pooling, and stages of `units` blocks, each but the first strided.

    (B, inputs, *S) -> `widths` (4, 8, 16 ... times `width`) at S/4, S/8 and so on. ResNeXt-101
    32x4d has a width of 64, 32 groups and 3, 4, 23 and 3 units.
    """

    def __init__(
        self, dims: int, inputs: int, width: int, units: Sequence[int], groups: int
    ) -> None:
        super().__init__()
        stem = unit(dims, inputs, width, 7, stride=2, bias=False)
        self.stem = nn.Sequential(stem, POOL[dims](3, 2, 1))
        planes = [width * 2**stage for stage in range(len(units))]
        self.widths = [4 * plane for plane in planes]
        before = [width, *self.widths]
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ResnextBlock(
                        dims,
                        4 * plane if block else before[stage],
                        plane,
                        2 if stage and not block else 1,
                        groups,
                    )
                    for block in range(count)
                )
            )
            for stage, (plane, count) in enumerate(zip(planes, units))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features from a quarter of the resolution on, finest first."""
        return climbed(self.stages, self.stem(image))
