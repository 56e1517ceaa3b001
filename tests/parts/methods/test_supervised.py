"""Supervised: unlabelled items teach nothing.

Every resolution counts half of the next finer one.
"""

import pytest
import torch

from oncoseg import registry
from oncoseg.trainable import Loss
from worlds import make_batch, regions_task

TASK = regions_task(2, 32)


def built():
    torch.manual_seed(0)
    network = registry.build("networks", "unet:width=8", TASK)
    return registry.build(
        "methods", "supervised", network, TASK, registry.build("losses", "dice_ce", exclusive=False)
    )


def test_unlabelled_items_do_not_count():
    method, batch = built(), make_batch(TASK)
    unlabelled = batch.but(labeled=torch.tensor([True, False]))
    lies = unlabelled.label.clone()
    lies[1] = 1 - lies[1]
    assert torch.equal(
        method.losses(unlabelled, 0)["segmentation"],
        method.losses(unlabelled.but(label=lies), 0)["segmentation"],
    )


class SizeOfLogits(Loss):
    """A loss that says which resolution it was given."""

    def forward(self, logits, target, weight):
        return torch.tensor(float(logits.shape[2]))


def test_levels_weigh_half_of_the_next_finer():
    method, batch = built(), make_batch(TASK)
    method.loss = SizeOfLogits()
    assert float(method.losses(batch, 0)["segmentation"]) == pytest.approx((32 * 2 + 16) / 3)
