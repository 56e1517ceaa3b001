"""Implant synthetic nested gliomas into healthy brain.

Shapes are random, contrasts plausible in each sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.noise import blur, smooth_field
from oncoseg.blocks.tumour import LOOK, fluid_of, nested_tumour
from oncoseg.case import Batch, Task
from oncoseg.errors import BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation

CARD = Card(
    "Label-Free Liver Tumor Segmentation",
    2023,
    arxiv="2303.14869",
    reading="Our reading: the idea of training on implanted tumours is the paper's; "
    "shapes and contrasts for MRI are ours.",
)


class TumourSynthesis(Augmentation):
    """With probability `probability` an item gets one tumour where it has none.

    It has a core, oedema and an enhancing rim.

    For tasks whose labels are NCR, ED and ET. The core is an ellipsoid of `smallest` to `largest`
    mm radius with a noisy edge; the rim is what lies outside an inner level of the same field;
    oedema reaches up to twice as far along another noise and spares fluid. Raises `BadRun` for
    other tasks.
    """

    def __init__(
        self, task: Task, *, probability: float = 0.4, smallest: float = 5.0, largest: float = 26.0
    ) -> None:
        if not {"NCR", "ED", "ET"} <= set(task.labels) or task.dims != 3:
            has = ", ".join(task.labels)
            raise BadRun(f"tumour_synthesis needs a 3-D task with labels NCR, ED and ET, not {has}")
        self.task, self.probability, self.radii = task, probability, (smallest, largest)
        self.rows = {
            name: torch.from_numpy(task.membership[:, task.labels[name]])
            for name in ("NCR", "ED", "ET")
        }

    def __call__(self, batch: Batch) -> Batch:
        """Weights stay as they are: an implanted tumour is as certain as a label can be."""
        image, label = batch.image.clone(), batch.label.clone()
        for item in torch.nonzero(torch.rand(len(batch)) < self.probability).flatten().tolist():
            body = (batch.image[item] != 0).any(0)
            healthy = body & (label[item].amax(0) < 0.01)
            low, high = self.radii
            radius = low + (high - low) * float(torch.rand(())) ** 1.3
            fluid = fluid_of(batch.image[item], self.task.modalities)
            compartments = nested_tumour(healthy, fluid, self.task.spacing, radius)
            for channel, name in enumerate(self.task.modalities):
                image[item, channel] = self._paint(
                    image[item, channel], compartments, LOOK.get(name, LOOK["t1"])
                )
            for name, mask in zip(("NCR", "ED", "ET"), compartments):
                label[item] = torch.where(
                    mask, self.rows[name].to(label).view(-1, 1, 1, 1), label[item]
                )
        return batch.but(image=torch.where(batch.image != 0, image, 0), label=label)

    def _paint(
        self,
        values: Tensor,
        compartments: tuple[Tensor, ...],
        look: tuple[tuple[float, float], ...],
    ) -> Tensor:
        """Replace core tissue, shift oedema, with texture and soft edges."""
        painted = values
        texture = smooth_field(
            values.shape, [max(3, size // 4) for size in values.shape], 1, values
        )[0, 0]
        for place, (mask, (mean, spread)) in enumerate(zip(compartments, look)):
            target = mean + spread * float(torch.randn(()).clamp(-2, 2))
            keep = 0.5 if place == 1 else 0.15
            share = blur(mask.float()[None, None], [0.6] * 3)[0, 0]
            painted = painted + share * (target + 0.3 * texture + keep * values - painted)
        return painted
