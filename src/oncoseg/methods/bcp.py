"""Bidirectional copy-paste: labelled and unlabelled scans pasted into one another."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.ema import Ema
from oncoseg.blocks.mixing import box_mask, paste
from oncoseg.blocks.supervision import deep_loss, labelled_weight, pseudo_label
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Bidirectional Copy-Paste for Semi-Supervised Medical Image Segmentation",
    2023,
    arxiv="2305.00673",
    reading="Our reading: every labelled scan is mixed with an unlabelled one in both directions, "
    "where the paper has two pairs; losses are taken at every resolution.",
)


class Bcp(Method):
    """A labelled scan with a box of an unlabelled one, and an unlabelled one with a labelled box.

    The box is `side` times as long as each axis. What an unlabelled voxel shows is what the teacher
    predicts, of each region the `largest` component, and counts `trust` times as much. For the
    first `warm_up` steps labelled scans are mixed with one another instead, and the teacher is a
    copy; then it follows by `decay`. In batches below 4 one labelled scan has no other to be mixed
    with, and the first stage is plain supervised learning.
    """

    needs = ("labeled", "unlabeled")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        warm_up: int = 2000,
        decay: float = 0.99,
        side: float = 0.6666667,
        trust: float = 0.5,
        largest: bool = True,
        steady_teacher: bool = False,
    ) -> None:
        super().__init__(network, task, loss)
        # In the first stage the decay is limited to 0: the weights are copied.
        self.teacher = Ema(
            network, decay, limit=lambda count: float(count >= warm_up), steady=steady_teacher
        )
        self.warm_up, self.side, self.trust, self.largest = warm_up, side, trust, largest

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`copy_paste` in the first stage; `inward` and `outward` in the second."""
        mask = box_mask(batch.image.shape[2:], self.side, batch.image.device)
        real = batch[batch.labeled]
        real = real.but(weight=labelled_weight(real))
        if step < self.warm_up:
            mixed = paste(real, real[torch.arange(len(real)).roll(1)], mask)
            total = deep_loss(self.loss, self.network(mixed), mixed.label, mixed.weight)
            return {"copy_paste": total / 2}
        free = batch[~batch.labeled]
        free = free.but(label=self.pseudo(free))
        return {"inward": self.mixed(real, free, mask), "outward": self.mixed(free, real, mask)}

    def pseudo(self, free: Batch) -> Tensor:
        """What the teacher says of unlabelled scans (B, outputs, *S)."""
        said = self.teacher(free)[0]
        return pseudo_label(said, free.weight, exclusive=self.loss.exclusive, largest=self.largest)

    def mixed(self, outer: Batch, inner: Batch, mask: Tensor) -> Tensor:
        """The loss of `outer` where the mask is 1 plus that of `inner` where it is 0, halved.

        Each is normalised in its own region; what is not labelled counts `trust` times.
        """
        count = min(len(outer), len(inner))
        outer, inner = outer[:count], inner[:count]
        logits = self.network(paste(outer, inner, mask))
        total = logits[0].new_zeros((), dtype=torch.float32)
        for part, region in ((outer, mask), (inner, 1 - mask)):
            share = 1.0 if bool(part.labeled.all()) else self.trust
            total = total + share * deep_loss(self.loss, logits, part.label, part.weight * region)
        return total / 2

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.network)
