"""Random shapes of tumours: nested ones with core, rim and oedema, and deformed ellipsoids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from oncoseg.blocks.noise import smooth_field

# Mean and spread over patients of each compartment, in deviations from the mean of the brain.
LOOK = {
    "t1": ((-0.4, 0.4), (0.0, 0.3), (0.1, 0.4)),
    "t1ce": ((0.0, 0.4), (0.0, 0.25), (2.6, 0.9)),
    "t2": ((1.0, 0.7), (0.8, 0.3), (0.6, 0.3)),
    "flair": ((0.9, 0.9), (1.5, 0.6), (1.0, 0.6)),
}


def fluid_of(image: Tensor, modalities: Sequence[str]) -> Tensor:
    """Rough map (*S) of cerebrospinal fluid in (M, *S): very bright in T2, very dark elsewhere."""
    fluid = torch.zeros_like(image[0], dtype=torch.bool)
    for name, values in zip(modalities, image):
        fluid |= values > 1.8 if name == "t2" else values < -1.8
    return fluid


def nested_tumour(
    healthy: Tensor, fluid: Tensor, spacing: Sequence[float], radius: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Boolean masks (*S) of necrotic core, oedema and enhancing tumour.

    They lie about a random healthy voxel.

    The tumour is an ellipsoid of about `radius` mm whose edge is noise; its core is an inner level
    of the same field with other noise; oedema reaches up to 2.2 radii along slower noise and spares
    `fluid`. All lie in `healthy`.
    """
    shape, like = healthy.shape, healthy.float()
    offsets = offsets_from(healthy & ~fluid, spacing)
    stretch = (0.7 + 0.6 * torch.rand(3)).to(like).view(3, 1, 1, 1)
    far = (offsets * stretch).square().sum(0).sqrt() / radius
    knots = [max(6, round(size * length / 9)) for size, length in zip(shape, spacing)]

    def noise(coarser: int) -> Tensor:
        return smooth_field(shape, [count // coarser for count in knots], 1, like)[0, 0]

    fine = 0.12 * noise(1)
    tumour = (far + 0.22 * noise(2) + fine < 1) & healthy
    core = tumour & (far + 0.25 * noise(1) < float(torch.rand(())) * 0.95)
    reach = 1 + float(torch.rand(())) * 1.2
    oedema = (far + 0.5 * noise(3) + fine < reach) & healthy & ~tumour & ~fluid
    return core, oedema, tumour & ~core


def deformed_ellipsoid(host: Tensor, spacing: Sequence[float], radius: float) -> Tensor:
    """Mask (*S), bool, of an ellipsoid about a random voxel of `host`, cut to `host`.

    Its half-axes are 0.75 to 1.25 of `radius` mm; its voxels are displaced by a smooth field on
    knots two radii apart whose deviation is a quarter of the radius.
    """
    if not host.any():
        return torch.zeros_like(host)
    shape, dims, like = host.shape, host.ndim, host.float()
    half = (0.75 + 0.5 * torch.rand(dims)).to(like).view(-1, *(1,) * dims)
    knots = [1 + math.ceil(size * step / (2 * radius)) for size, step in zip(shape, spacing)]
    bend = 0.25 * radius * smooth_field(shape, knots, dims, like)[0]
    far = ((offsets_from(host, spacing) + bend) / (half * radius)).square().sum(0)
    return (far < 1) & host


def offsets_from(host: Tensor, spacing: Sequence[float]) -> Tensor:
    """(dims, *S) mm along each axis from a random voxel of the mask `host` (*S)."""
    like = host.float()
    step = torch.tensor(spacing).to(like).view(-1, *(1,) * host.ndim)
    spot = (torch.rand_like(like) * host).argmax()
    centre = torch.stack(torch.unravel_index(spot, host.shape)).to(like).view_as(step)
    axes = [torch.arange(size, device=like.device) for size in host.shape]
    return (torch.stack(torch.meshgrid(*axes, indexing="ij")) - centre) * step
