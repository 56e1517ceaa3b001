"""Hide some modalities of an item, never all, so that one network serves every subset of them."""

from __future__ import annotations

import torch

from oncoseg.blocks.modalities import together
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation

CARD = Card(
    "ModDrop: adaptive multi-modal gesture recognition",
    2016,
    arxiv="1501.00102",
    reading="Our reading: a subset is drawn evenly by its size, and at least one modality is kept.",
)


class ModalityDropout(Augmentation):
    """With probability `probability` keep a random subset.

    The size of the subset is drawn evenly from 1 to all but one. The colours of a picture count as
    one, since none is ever missing alone.
    """

    def __init__(self, task: Task, *, probability: float = 0.5) -> None:
        self.units, self.probability = together(task.modalities), probability

    def __call__(self, batch: Batch) -> Batch:
        """Hidden modalities are 0 and not present.

        Modalities that were absent stay so and do not count.
        """
        there = batch.present.flatten(2).any(2).cpu()
        keep = there.clone()
        for item in range(len(batch)):
            units = [list(unit) for unit in self.units if there[item, list(unit)].any()]
            if len(units) < 2 or torch.rand(()) >= self.probability:
                continue
            count = int(torch.randint(1, len(units), ()))
            for place in torch.randperm(len(units))[count:].tolist():
                keep[item, units[place]] = False
        mask = keep.to(batch.image.device).view(*keep.shape, *(1,) * (batch.image.ndim - 2))
        return batch.but(image=batch.image * mask, present=batch.present & mask)
