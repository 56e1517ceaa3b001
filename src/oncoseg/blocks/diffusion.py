"""Denoising diffusion: the noise schedule, steps forward and back, and where inpainting jumps.

States are counted from `steps` - 1, almost pure noise, down to 0; state -1 is the clean image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV

GROUPS = 8


def cosine_betas(steps: int, offset: float = 0.008) -> Tensor:
    """beta_t (steps,) of alpha_bar(t) = cos^2(pi / 2 * (t / steps + s) / (1 + s)), at most 0.9999.

    Equation 17 of Nichol and Dhariwal, 2021.
    """
    place = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    kept = torch.cos((place + offset) / (1 + offset) * math.pi / 2).square()
    return (1 - kept[1:] / kept[:-1]).clamp(max=0.9999)


def jumps(steps: int, length: int, repeats: int) -> list[int]:
    """States in the order of RePaint, from `steps` - 1 to -1, neighbours one apart.

    At 0, `length`, 2 `length` ... below `steps` - `length` it goes back up by `length` states,
    `repeats` - 1 times each (Lugmayr et al., 2022, appendix B).
    """
    left = dict.fromkeys(range(0, steps - length, length), repeats - 1)
    states, state = [], steps
    while state > 0:
        state -= 1
        states.append(state)
        if left.get(state, 0) > 0:
            left[state] -= 1
            states.extend(range(state + 1, state + length + 1))
            state += length
    return [*states, -1]


class Diffusion(nn.Module):
    """q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t) in `steps` steps; no parameters.

    Every method takes images (B, C, *S) and `time` (B,), the state they are in or go to.
    """

    betas: Tensor
    kept: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        betas = cosine_betas(steps)
        self.register_buffer("betas", betas.float(), persistent=False)
        # alpha_bar by state + 1, so that the clean image is at 0 with 1.
        kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
        self.register_buffer("kept", kept.float(), persistent=False)

    def noised(self, clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """A clean image in state `time`, by this noise; in state -1 it is the clean image."""
        kept = _like(self.kept[time + 1], clean)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def clean(self, image: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """The clean image of one in state `time`, if `noise` is in it: inverse of `noised`."""
        kept = _like(self.kept[time + 1], image)
        return (image - (1 - kept).sqrt() * noise) / kept.sqrt()

    def back(self, image: Tensor, clean: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(x_{t-1} | x_t, x_0); from state 0, the clean image itself."""
        kept, before = _like(self.kept[time + 1], image), _like(self.kept[time], image)
        beta = _like(self.betas[time], image)
        toward = before.sqrt() * beta / (1 - kept) * clean
        mean = toward + (1 - beta).sqrt() * (1 - before) / (1 - kept) * image
        return mean, beta * (1 - before) / (1 - kept)

    def forth(self, image: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """One step of noise more, to state `time`."""
        beta = _like(self.betas[time], image)
        return (1 - beta).sqrt() * image + beta.sqrt() * noise


def _like(value: Tensor, image: Tensor) -> Tensor:
    return value.view(-1, *(1,) * (image.ndim - 1))


def sinusoids(time: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width): sines and cosines of wavelengths from 2 pi to 10000 * 2 pi."""
    half = width // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / max(1, half - 1))
    angles = time.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def histogram(image: Tensor, mask: Tensor, bins: int) -> Tensor:
    """(B, C, *S), both -> (B, C, bins): shares of the masked voxels from -1 to 1.

    What lies beyond counts in the last bin of its side; where nothing is masked all are 0.
    """
    place = ((image.float() + 1) / 2 * bins).long().clamp(0, bins - 1).flatten(2)
    counts = torch.zeros(*place.shape[:2], bins, device=image.device)
    counts.scatter_add_(2, place, mask.float().flatten(2))
    return counts / counts.sum(-1, keepdim=True).clamp_min(1)


class Known(nn.Module):
    """Two convolutions round a shortcut; what is known scales and shifts between them (FiLM)."""

    def __init__(self, dims: int, inputs: int, width: int, known: int) -> None:
        super().__init__()
        groups = math.gcd(GROUPS, width)
        self.first = CONV[dims](inputs, width, 3, padding=1)
        self.norm = nn.GroupNorm(groups, width)
        self.film = nn.Linear(known, 2 * width)
        self.second = CONV[dims](width, width, 3, padding=1)
        self.renorm = nn.GroupNorm(groups, width)
        self.shortcut = CONV[dims](inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        """(B, inputs, *S) and (B, known) -> (B, width, *S)."""
        scale, shift = (
            self.film(F.silu(known)).view(len(known), -1, *(1,) * (features.ndim - 2)).chunk(2, 1)
        )
        inner = F.silu(self.norm(self.first(features)) * (1 + scale) + shift)
        result: Tensor = F.silu(self.renorm(self.second(inner))) + self.shortcut(features)
        return result
