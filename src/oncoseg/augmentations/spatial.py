"""Rotation, scaling, flips and elastic deformation, in millimetres, of image and label together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.crop import centre
from oncoseg.blocks.noise import smooth_field
from oncoseg.blocks.rotation import rotation
from oncoseg.case import CROPS, Batch, Prompts, Task
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
    reading="Our reading: in 3-D, nnU-Net mirrors every axis; left to right alone is better here.",
)


class Spatial(Augmentation):
    """Patches read with a margin are resampled once, by linear interpolation, to the task's patch.

    Each item is rotated by up to `degrees` about each axis and scaled by a factor between 1/`scale`
    and `scale` with probability `probability`, displaced by a smooth field of `elastic` mm
    (standard deviation) with half of it, and if `flip`, mirrored with probability 1/2: left to
    right in 3-D, where scans lie in RAS and nobody comes upside down, and along both axes in 2-D.
    Memberships become fractional at edges.
    """

    margin = 1.15

    def __init__(
        self,
        task: Task,
        *,
        probability: float = 0.5,
        degrees: float = 25.0,
        scale: float = 1.3,
        elastic: float = 2.0,
        flip: bool = True,
    ) -> None:
        self.task, self.probability, self.degrees = task, probability, degrees
        self.scale, self.elastic, self.flip = scale, elastic, flip

    def __call__(self, batch: Batch) -> Batch:
        """A batch of exactly the task's patch."""
        still = centre(batch, self.task.patch)
        parts = {name: getattr(still, name).clone() for name in CROPS}
        for item in torch.nonzero(torch.rand(len(batch)) < self.probability).flatten().tolist():
            known = batch.weight[item] > 0
            wide = torch.cat([*(getattr(batch, name)[item].float() for name in CROPS), known])[None]
            grid = self._grid(wide)
            moved = F.grid_sample(wide, grid, align_corners=True, padding_mode="zeros")[0]
            sizes = [getattr(batch, name).shape[1] for name in CROPS]
            for name, values in zip(CROPS, moved[: -len(known)].split(sizes)):
                parts[name][item] = values > 0.5 if name == "present" else values
            parts["image"][item] *= parts["present"][item]
            parts["weight"][item] *= moved[-len(known) :] > 0.999  # nothing from beside it
        if self.flip:
            mirrored = range(1, 2 if self.task.dims == 3 else 3)
            for item in range(len(batch)):
                axes = [axis for axis in mirrored if torch.rand(()) < 0.5]
                for name in CROPS if axes else ():
                    parts[name][item] = parts[name][item].flip(axes)
        return still.but(**parts, prompts=Prompts.none(parts["image"]))

    def _grid(self, wide: Tensor) -> Tensor:
        """Sampling positions (1, *patch, dims) as in `grid_sample`: last axis first, -1 to 1."""
        dims, patch = self.task.dims, self.task.patch
        spacing = torch.tensor(self.task.spacing, dtype=torch.float32)
        offsets = [torch.arange(size, device=wide.device) - (size - 1) / 2 for size in patch]
        voxels = torch.stack(torch.meshgrid(*offsets, indexing="ij"), dim=-1)
        factor = math.exp((2 * float(torch.rand(())) - 1) * math.log(self.scale))
        turn = rotation(dims, self.degrees) * factor
        matrix = torch.diag(1 / spacing) @ turn @ torch.diag(spacing)
        points = voxels @ matrix.T.to(wide)
        if self.elastic and torch.rand(()) < 0.5:
            cells = [
                max(3, round(size * length / 32)) for size, length in zip(patch, self.task.spacing)
            ]
            shift = smooth_field(patch, cells, dims, wide)[0].movedim(0, -1)
            points = points + shift * (self.elastic / spacing.to(wide))
        half = torch.tensor([max(1, size - 1) / 2 for size in wide.shape[2:]])
        return (points / half.to(wide)).flip(-1)[None]
