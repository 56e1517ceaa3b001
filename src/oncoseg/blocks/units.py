"""A convolution with its norm and activation, named: what published networks differ in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from oncoseg.blocks.convs import CONV, NORM, TRANSPOSED


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation; one value a channel has no variance: it takes the running statistics."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, *S) -> the same."""
        if not self.training or features.numel() > features.shape[1]:
            return super().forward(features)
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(features, *known, training=False, eps=self.eps)


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """On images (B, C, H, W)."""


class BatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    """On volumes (B, C, *S)."""


BATCH: dict[int, Any] = {2: BatchNorm2d, 3: BatchNorm3d}
POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEAN: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
WIDEST = {2: 512, 3: 320}  # channels that a stage of nnU-Net has at most
SPATIAL: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}
ACTS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda width: nn.ReLU(),
    "leaky": lambda width: nn.LeakyReLU(0.01),
    "prelu": nn.PReLU,
    "elu": lambda width: nn.ELU(),
    "gelu": lambda width: nn.GELU(),
    "silu": lambda width: nn.SiLU(),
}
NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "batch": lambda dims, width: BATCH[dims](width),
    "instance": lambda dims, width: NORM[dims](width, affine=True),
    "group": lambda dims, width: nn.GroupNorm(min(8, width), width),
}


def norm_of(dims: int, width: int, norm: str) -> nn.Module:
    """`batch`, `instance` (affine) or `group` (8 groups) normalisation."""
    return NORMS[norm](dims, width)


def unit(
    dims: int,
    inputs: int,
    width: int,
    kernel: Sequence[int] | int = 3,
    *,
    stride: Sequence[int] | int = 1,
    dilation: int = 1,
    groups: int = 1,
    norm: str = "batch",
    act: str = "relu",
    bias: bool = True,
) -> nn.Sequential:
    """(B, inputs, *S) -> (B, width, *S/stride): convolution, norm, activation; "" leaves one out.

    The size is kept where the stride is 1, for odd kernels.
    """
    size = tuple(kernel) if isinstance(kernel, Sequence) else (kernel,) * dims
    step = tuple(stride) if isinstance(stride, Sequence) else (stride,) * dims
    padding = tuple(dilation * (length // 2) for length in size)
    conv = CONV[dims](inputs, width, size, step, padding, dilation, groups, bias)
    parts = [conv]
    parts += [norm_of(dims, width, norm)] if norm else []
    parts += [ACTS[act](width)] if act else []
    return nn.Sequential(*parts)


def raised(
    dims: int, inputs: int, width: int, stride: Sequence[int], *, norm: str = "batch"
) -> nn.Sequential:
    """(B, inputs, *S) -> (B, width, *S stride): transposed convolution of kernel 3, norm, ReLU."""
    further = tuple(step - 1 for step in stride)
    conv = TRANSPOSED[dims](inputs, width, 3, tuple(stride), 1, further)
    return nn.Sequential(conv, norm_of(dims, width, norm), nn.ReLU())


def levels(widths: Sequence[int], count: int) -> list[int]:
    """So many widths: the first ones, or the last repeated."""
    return [*widths, *[widths[-1]] * count][:count]


def twice(
    dims: int, inputs: int, width: int, *, norm: str = "batch", act: str = "relu"
) -> nn.Sequential:
    """Two units of kernel 3, as a stage of a U-Net has them."""
    first = unit(dims, inputs, width, norm=norm, act=act)
    return nn.Sequential(first, unit(dims, width, width, norm=norm, act=act))
