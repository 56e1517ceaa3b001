"""Smooth random fields and separable smoothing, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.convs import CONVOLVE
from oncoseg.blocks.resize import LINEAR


def smooth_field(shape: Sequence[int], cells: Sequence[int], channels: int, like: Tensor) -> Tensor:
    """(1, channels, *shape) of standard normal values on `cells` knots an axis.

    Between knots they are interpolated linearly.
    """
    knots = torch.randn(1, channels, *(max(2, count) for count in cells), device=like.device)
    return F.interpolate(knots, size=tuple(shape), mode=LINEAR[len(shape)], align_corners=True)


def blur(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Gaussian smoothing of (N, 1, *S) by `sigmas` voxels, one an axis.

    Axes of sigma below 0.2 are left as they are.
    """
    dims = image.ndim - 2
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.2:
            continue
        radius = max(1, round(3 * sigma))
        offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        shape = [1] * (dims + 2)
        shape[axis + 2] = -1
        padding = [0] * dims
        padding[axis] = radius
        image = CONVOLVE[dims](image, (kernel / kernel.sum()).view(shape), padding=padding)
    return image
