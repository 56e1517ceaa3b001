"""Supervised learning with deep supervision: the loss at every resolution the network gives."""

from __future__ import annotations

from torch import Tensor

from oncoseg.blocks.pyramid import level_weights, shrink
from oncoseg.case import Batch
from oncoseg.registry import Card
from oncoseg.trainable import Method

CARD = Card("Deeply-Supervised Nets", 2015, arxiv="1409.5185")


class Supervised(Method):
    """Loss of labelled items, each resolution weighing half as much as the next finer one."""

    needs = ("labeled",)

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `segmentation`."""
        logits = self.network(batch)
        weight = batch.weight * batch.labeled.view(-1, *(1,) * (batch.weight.ndim - 1))
        if not bool(batch.annotated.all()):
            known = batch.annotated.view(*batch.annotated.shape, *(1,) * (weight.ndim - 2))
            weight = weight * known
        total = logits[0].new_zeros((), dtype=weight.dtype)
        for share, coarse in zip(level_weights(len(logits)), logits):
            shape = tuple(coarse.shape[2:])
            total = total + share * self.loss(
                coarse, shrink(batch.label, shape), shrink(weight, shape)
            )
        return {"segmentation": total}
