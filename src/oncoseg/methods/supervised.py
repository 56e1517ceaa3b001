"""Supervised learning with deep supervision: the loss at every resolution the network gives."""

from __future__ import annotations

from torch import Tensor

from oncoseg.blocks.supervision import deep_loss, labelled_weight
from oncoseg.case import Batch
from oncoseg.registry import Card
from oncoseg.trainable import Method

CARD = Card("Deeply-Supervised Nets", 2015, arxiv="1409.5185")


class Supervised(Method):
    """Loss of labelled items, each resolution weighing half as much as the next finer one."""

    needs = ("labeled",)

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `segmentation`."""
        given = self.network(batch), batch.label, labelled_weight(batch)
        return {"segmentation": deep_loss(self.loss, *given)}
