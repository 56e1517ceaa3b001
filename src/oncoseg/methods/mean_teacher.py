"""Mean Teacher: agree, on moved unlabelled scans, with the moving average of one's own weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oncoseg.blocks.crop import moved
from oncoseg.blocks.ema import Ema, running_mean
from oncoseg.blocks.supervision import deep_loss, labelled_weight, probability, ramp_up
from oncoseg.case import CROPS, Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Mean teachers are better role models: Weight-averaged consistency targets improve "
    "semi-supervised deep learning results",
    2017,
    arxiv="1703.01780",
    reading="Decay, noise and the shape of the ramp are those of the usual medical version "
    "(SSL4MIS, 3-D), whose ramp of 6000 steps, consistency of 0.1 and images that are never moved "
    "gained nothing on ten labelled hippocampi; the paper moves its images. Our reading: labels "
    "are moved back voxel by voxel, and the weight of the consistency rises every step.",
)


class MeanTeacher(Method):
    """loss / 2 + w(step) * mean squared difference to what the teacher says of another view.

    The student sees each unlabelled image moved by up to `shift` voxels along each axis, the
    teacher the same image in its place with normal noise of deviation `noise`, clipped at `clip`;
    they are compared where both see it. w rises to `consistency` over `ramp_up` steps. The teacher
    follows by a = min(1 - 1 / (step + 1), `decay`); with `steady_teacher` it predicts without
    dropout.
    """

    needs = ("labeled", "unlabeled")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        decay: float = 0.99,
        consistency: float = 10.0,
        ramp_up: int = 500,
        shift: int = 4,
        noise: float = 0.1,
        clip: float = 0.2,
        steady_teacher: bool = False,
    ) -> None:
        super().__init__(network, task, loss)
        self.teacher = Ema(network, decay, limit=running_mean, steady=steady_teacher)
        self.consistency, self.ramp_up, self.shift = consistency, ramp_up, shift
        self.noise, self.clip = noise, clip

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`segmentation` of what is labelled, `consistency` of what is not."""
        free = batch[~batch.labeled]
        by = torch.randint(-self.shift, self.shift + 1, (batch.image.ndim - 2,)).tolist()
        seen = self.shifted(batch, by)
        logits = self.network(seen)
        known = deep_loss(self.loss, logits, seen.label, labelled_weight(seen))
        said = probability(logits[0][~batch.labeled], self.loss.exclusive)
        taught = probability(self.teacher(self.noisy(free))[0], self.loss.exclusive)
        inside = moved(free.weight, by)
        apart = ((said - moved(taught, by)) ** 2).mean(1, keepdim=True) * inside
        weight = self.consistency * ramp_up(step, self.ramp_up)
        mean = apart.sum() / inside.sum().clamp_min(1)
        return {"segmentation": known / 2, "consistency": weight * mean}

    @staticmethod
    def shifted(batch: Batch, by: Sequence[int]) -> Batch:
        """With the unlabelled items, all of them alike, moved by whole voxels."""
        crops = {name: getattr(batch, name).clone() for name in CROPS}
        for values in crops.values():
            values[~batch.labeled] = moved(values[~batch.labeled], by)
        return batch.but(**crops)

    def noisy(self, batch: Batch) -> Batch:
        """With clipped noise wherever a modality is present."""
        noise = (torch.randn_like(batch.image) * self.noise).clamp(-self.clip, self.clip)
        return batch.but(image=batch.image + noise * batch.present)

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.network)
