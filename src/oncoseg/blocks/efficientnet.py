"""EfficientNet-B0 without its classifier (Tan and Le 2019, arXiv 1905.11946)."""

from __future__ import annotations

from torch import Tensor, nn

from oncoseg.blocks.mbconv import MbConv, pad_behind
from oncoseg.blocks.units import BATCH, unit

# Of each stage of B0: blocks, kernel, stride, expansion, channels.
B0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
STEP = 32  # voxels of the coarsest feature along each axis


class Efficientnet(nn.Module):
    """(B, inputs, *S) -> `widths` at S/2 to S/32, finest first; 32 divides S.

    `width` multiplies the channels of B0, rounded to multiples of 8.
    """

    def __init__(self, dims: int, inputs: int, width: float = 1.0) -> None:
        super().__init__()
        before = _rounded(STEM * width)
        two = (2,) * dims
        stem = unit(dims, inputs, before, stride=two, act="silu", bias=False)
        self.stem = pad_behind(stem, 3, two)
        stages: list[nn.Module] = []
        self.widths: list[int] = []
        for count, kernel, stride, expansion, channels in B0:
            after = _rounded(channels * width)
            blocks = [
                MbConv(
                    dims,
                    after if block else before,
                    after,
                    expand=expansion,
                    kernel=kernel,
                    stride=(1 if block else stride,) * dims,
                    act="silu",
                    squeeze=0.25,
                    behind=True,
                )
                for block in range(count)
            ]
            stages.append(nn.Sequential(*blocks))
            self.widths = [*(self.widths if stride > 1 else self.widths[:-1]), after]
            before = after
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, BATCH[dims]):
                module.eps = 1e-3
        self.strides = [stride for _, _, stride, _, _ in B0]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The last features of every resolution, from a half on."""
        features = self.stem(image)
        found = [features]
        for stage, stride in zip(self.stages, self.strides):
            features = stage(features)
            found = [*found, features] if stride > 1 else [*found[:-1], features]
        return found


def _rounded(channels: float) -> int:
    """The multiple of 8 next to it, but never less than nine tenths of it."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
