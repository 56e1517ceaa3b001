"""Smooth random fields and separable smoothing, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.resize import LINEAR


def smooth_field(shape: Sequence[int], cells: Sequence[int], channels: int, like: Tensor) -> Tensor:
    """(1, channels, *shape) of standard normal values on `cells` knots an axis.

    Between knots they are interpolated linearly.
    """
    knots = torch.randn(1, channels, *(max(2, count) for count in cells), device=like.device)
    return F.interpolate(knots, size=tuple(shape), mode=LINEAR[len(shape)], align_corners=True)


def blur(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Gaussian smoothing of (N, 1, *S) by `sigmas` voxels, one an axis.

    Axes of sigma below 0.2 are left as they are; beside the image all is 0.
    """
    for axis, sigma in enumerate(sigmas, start=2):
        if sigma < 0.2:
            continue
        radius, size = max(1, round(3 * sigma)), image.shape[axis]
        weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
        whole = weights[0] + 2 * sum(weights[1:])
        # Sums of shifted views: a convolution with one channel is many times as slow here.
        found = image * (weights[0] / whole)
        for offset, weight in enumerate(weights[1 : min(radius + 1, size)], start=1):
            length = size - offset
            for here, there in ((0, offset), (offset, 0)):
                near = image.narrow(axis, there, length)
                found.narrow(axis, here, length).add_(near, alpha=weight / whole)
        image = found
    return image
