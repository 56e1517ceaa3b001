"""LeFusion: a diffusion model that learns lesions alone, to paint them into healthy scans."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from oncoseg.blocks.implants import painted
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Method

CARD = Card(
    "LeFusion: Controllable Pathology Synthesis via Lesion-Focused Diffusion Models",
    2025,
    arxiv="2403.14066",
    reading="Our reading: the mean is taken over the voxels of lesions, not of patches, which "
    "scales the loss alone; controls are centres that follow the training, not clusters found "
    "after it; shapes are deformed ellipsoids, not drawn by a second diffusion model.",
)


class Lefusion(Method):
    """L1 between noise and its prediction, both times the mask of the lesion.

    Each region of each modality is an output with its own mask. The network is told the histogram
    of what is painted and, while it learns, remembers what histograms there are. Published with
    `diffusion_unet:width=64,steps=300,jump=10,repeats=10`, rate 1e-4, batches of 18, 50000 steps
    and an average of 0.995.
    """

    needs = ("labeled", "noise")
    segments = False

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """One image for each region in each modality."""
        return painted(task, tuple(task.regions))

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `noise`; 0 where a batch holds no lesion."""
        network: Any = self.network
        clean, masks = network.pictures(batch), network.masks(batch)
        control = network.histogram(clean, masks)
        network.remember(control)
        time, noise = network.chance(clean)
        noised = network.process.noised(clean, time, noise)
        told = network.denoise(noised, time, control)
        return {"noise": focused(told, noise, masks)}


def focused(told: Tensor, noise: Tensor, masks: Tensor) -> Tensor:
    """Mean of abs(noise * mask - told * mask) over the mask, (B, outputs, *S) all three."""
    return (noise * masks - told * masks).abs().sum() / masks.sum().clamp_min(1)
