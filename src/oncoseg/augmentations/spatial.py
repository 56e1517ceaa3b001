"""Rotation, scaling, flips and elastic deformation, in millimetres, of image and label together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oncoseg.blocks.crop import centre
from oncoseg.blocks.noise import smooth_field
from oncoseg.blocks.rotation import rotation, sampled
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
        self.scale, self.elastic = scale, elastic
        self.mirrors = (0, 1)[: 4 - task.dims] if flip else ()

    def __call__(self, batch: Batch) -> Batch:
        """A batch of exactly the task's patch."""
        still = centre(batch, self.task.patch)
        parts = {name: getattr(still, name).clone() for name in CROPS}
        for item in torch.nonzero(torch.rand(len(batch)) < self.probability).flatten().tolist():
            present, known = batch.present[item], batch.weight[item] > 0
            # In most patches all is present and known: then one mask is moved for all.
            masks = known if (present == known).all() else torch.cat([present, known])
            image, label, weight = batch.image[item], batch.label[item], batch.weight[item]
            own = [] if ((weight == 1) == known).all() else [weight]
            grid = self._grid(image.float())
            image, label, masks, *own = sampled([image, label, masks, *own], grid)
            weight = own[0] if own else masks[-1:]
            masks = masks.expand(len(image) + 1, *masks.shape[1:])
            parts["present"][item] = masks[:-1] > 0.5
            parts["image"][item] = image * parts["present"][item]
            parts["label"][item] = label
            parts["weight"][item] = weight * (masks[-1:] > 0.999)  # nothing from beside it
        for item in range(len(batch) if self.mirrors else 0):
            axes = [1 + axis for axis in self.mirrors if torch.rand(()) < 0.5]
            for name in CROPS if axes else ():
                parts[name][item] = parts[name][item].flip(axes)
        return still.but(**parts, prompts=Prompts.none(parts["image"]))

    def _grid(self, image: Tensor) -> Tensor:
        """Sampling positions (1, *patch, dims) as in `grid_sample`: last axis first, -1 to 1."""
        dims, patch = self.task.dims, self.task.patch
        spacing = torch.tensor(self.task.spacing, dtype=torch.float32)
        half = torch.tensor([max(1, size - 1) / 2 for size in image.shape[1:]])
        factor = math.exp((2 * float(torch.rand(())) - 1) * math.log(self.scale))
        matrix = torch.diag(factor / (spacing * half)) @ rotation(dims, self.degrees)
        points = image.new_zeros(())
        for axis, (size, column) in enumerate(zip(patch, (matrix * spacing).to(image).T)):
            steps = torch.arange(size, device=image.device) - (size - 1) / 2
            points = points + steps.view(-1, *[1] * (dims - axis)) * column
        if self.elastic and torch.rand(()) < 0.5:
            cells = [max(3, round(size * mm / 32)) for size, mm in zip(patch, self.task.spacing)]
            shift = smooth_field(patch, cells, dims, image)[0].movedim(0, -1)
            points = points + shift * (self.elastic / (spacing * half)).to(image)
        return points.flip(-1)[None]
