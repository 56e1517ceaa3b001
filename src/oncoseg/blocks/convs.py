"""Convolution blocks in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.blocks.norm import NormAct


def thin(features: Tensor, kernel: Sequence[int]) -> bool:
    """Whether there are fewer voxels along an axis than the kernel has; dilation does not count.

    In bfloat16 a CPU then leaves the gradient of the weights unwritten in part, or writes beyond it
    (torch 2.13 and oneDNN on AVX-512 with bf16): numbers up to 1e36, none, or a crash. Transposed
    convolutions do so in 3-D.
    """
    return any(size < side for size, side in zip(features.shape[2:], kernel))


def convolved(convolve: Callable[[Tensor], Tensor], features: Tensor, *, exact: bool) -> Tensor:
    """`convolve(features)`; in float32 where it has to be `exact` and would be half so on a CPU."""
    if not (exact and features.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
        return convolve(features)
    with torch.autocast("cpu", enabled=False):
        return convolve(features.float()).to(torch.get_autocast_dtype("cpu"))


class Conv3d(nn.Conv3d):
    """torch's convolution, in float32 where it is `thin`."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        return convolved(super().forward, features, exact=thin(features, self.kernel_size))


class Conv2d(nn.Conv2d):
    """torch's convolution, in float32 where it is `thin`, or has groups and gaps.

    Of those, with channels last and 48 pixels a side or more, a CPU leaves the gradient of the
    weights unwritten in bfloat16. One of 1 x 1 takes its strided pixels first, which gives the
    same: on a CPU and with channels last, torch's gradient of those writes beyond its memory
    (2.13).
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        if self.kernel_size != (1, 1) or self.stride == (1, 1) or self.padding != (0, 0):
            gaps = self.groups > 1 and max(self.dilation) > 1
            exact = gaps or thin(features, self.kernel_size)
            return convolved(super().forward, features, exact=exact)
        rows, columns = self.stride
        chosen = features[:, :, ::rows, ::columns]
        return nn.functional.conv2d(chosen, self.weight, self.bias, groups=self.groups)


class ConvTranspose3d(nn.ConvTranspose3d):
    """torch's transposed convolution, in float32 where it is `thin`."""

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S*stride)."""
        up = super().forward
        exact = thin(features, self.kernel_size)
        return convolved(lambda values: up(values, output_size), features, exact=exact)


CONV: dict[int, Any] = {2: Conv2d, 3: Conv3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: ConvTranspose3d}
NORM: dict[int, Any] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
POOL: dict[int, Any] = {2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}
CONVOLVE: dict[int, Any] = {2: nn.functional.conv2d, 3: nn.functional.conv3d}
LARGEST: dict[int, Any] = {2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}


class ConvNormAct(nn.Sequential):
    """Convolution (odd `kernel`), instance normalisation, leaky ReLU 0.01.

    (B, inputs, *S) -> (B, width, *S/stride).
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        stride: Sequence[int] | int = 1,
        kernel: Sequence[int] | int = 3,
    ) -> None:
        super().__init__(
            _conv(dims, inputs, width, stride, kernel),
            NormAct(width),
        )


class ResidualBlock(nn.Module):
    """Two convolutions round a shortcut.

    The shortcut is pooled and projected where shape changes (He 2016, ResNet-D).
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        width: int,
        stride: Sequence[int] = (1,),
        kernel: Sequence[int] | int = 3,
    ) -> None:
        super().__init__()
        self.stride = tuple(stride) if len(stride) == dims else (1,) * dims
        self.pool = POOL[dims]
        self.first = ConvNormAct(dims, inputs, width, self.stride, kernel)
        self.second = nn.Sequential(_conv(dims, width, width, 1, kernel), NormAct(width, slope=1))
        self.project = self.projection(dims, inputs, width)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def projection(self, dims: int, inputs: int, width: int) -> nn.Module:
        """What the shortcut goes through."""
        if inputs == width:
            return nn.Identity()
        return nn.Sequential(CONV[dims](inputs, width, 1, bias=False), NormAct(width, slope=1))

    def shortcut(self, features: Tensor) -> Tensor:
        """What of the features is projected: of a strided block their means."""
        if max(self.stride) == 1:
            return features
        pooled: Tensor = self.pool(features, self.stride, self.stride, ceil_mode=True)
        return pooled

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S/stride)."""
        shortcut = self.shortcut(features)
        return self.act(self.second(self.first(features)) + self.project(shortcut))


def _conv(
    dims: int, inputs: int, width: int, stride: Sequence[int] | int, kernel: Sequence[int] | int
) -> nn.Module:
    """A convolution with a bias that keeps the size where its stride is 1."""
    size = tuple(kernel) if isinstance(kernel, Sequence) else (kernel,) * dims
    step = tuple(stride) if isinstance(stride, Sequence) else stride
    padding = tuple((length - 1) // 2 for length in size)
    found: nn.Module = CONV[dims](inputs, width, size, stride=step, padding=padding)
    return found


def stage(
    dims: int,
    inputs: int,
    width: int,
    stride: Sequence[int],
    blocks: int,
    *,
    kind: type[nn.Module] = ConvNormAct,
    kernel: Sequence[int] | int = 3,
) -> nn.Sequential:
    """`blocks` of a kind, the first of them strided; (B, inputs, *S) -> (B, width, *S/stride)."""
    one = (1,) * dims
    return nn.Sequential(
        kind(dims, inputs, width, stride, kernel),
        *(kind(dims, width, width, one, kernel) for _ in range(blocks - 1)),
    )


def initialise(module: nn.Module) -> None:
    """He's normal weights for leaky ReLU 0.01 and biases of 0; for `Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def seen(image: Tensor, present: Tensor) -> Tensor:
    """What a convolutional encoder is shown.

    It is images, 0 where absent, and where each is present: (B, 2 M, *S).
    """
    return torch.cat([image * present, present.to(image.dtype)], dim=1)
