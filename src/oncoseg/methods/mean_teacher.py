"""Mean Teacher: agree, on noisy unlabelled scans, with the moving average of one's own weights."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.ema import Ema, running_mean
from oncoseg.blocks.supervision import deep_loss, labelled_weight, probability, ramp_up
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Mean teachers are better role models: Weight-averaged consistency targets improve "
    "semi-supervised deep learning results",
    2017,
    arxiv="1703.01780",
    reading="Numbers are those of the usual medical version (SSL4MIS, 3-D); our reading: the "
    "weight of the consistency rises every step, not every 150.",
)


class MeanTeacher(Method):
    """loss / 2 + w(step) * mean squared difference to what the teacher says of a noisier image.

    w rises to `consistency` over `ramp_up` steps; the noise is normal, of deviation `noise`, and
    clipped at `clip`. The teacher follows by a = min(1 - 1 / (step + 1), `decay`); with
    `steady_teacher` it predicts without dropout.
    """

    needs = ("labeled", "unlabeled")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        decay: float = 0.99,
        consistency: float = 0.1,
        ramp_up: int = 6000,
        noise: float = 0.1,
        clip: float = 0.2,
        steady_teacher: bool = False,
    ) -> None:
        super().__init__(network, task, loss)
        self.teacher = Ema(network, decay, limit=running_mean, steady=steady_teacher)
        self.consistency, self.ramp_up = consistency, ramp_up
        self.noise, self.clip = noise, clip

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`segmentation` of what is labelled, `consistency` of what is not."""
        logits = self.network(batch)
        known = deep_loss(self.loss, logits, batch.label, labelled_weight(batch))
        free = batch[~batch.labeled]
        said = probability(logits[0][~batch.labeled], self.loss.exclusive)
        taught = probability(self.teacher(self.noisy(free))[0], self.loss.exclusive)
        apart = ((said - taught) ** 2).mean(1, keepdim=True) * free.weight
        weight = self.consistency * ramp_up(step, self.ramp_up)
        mean = apart.sum() / free.weight.sum().clamp_min(1)
        return {"segmentation": known / 2, "consistency": weight * mean}

    def noisy(self, batch: Batch) -> Batch:
        """With clipped noise wherever a modality is present."""
        noise = (torch.randn_like(batch.image) * self.noise).clamp(-self.clip, self.clip)
        return batch.but(image=batch.image + noise * batch.present)

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.network)
