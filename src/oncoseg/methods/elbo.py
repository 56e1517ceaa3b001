"""Variational learning of ambiguous labels: reconstruct from the posterior, hold it near the prior.

Works with networks that give a posterior: `posterior(batch)` and `prior(batch)` are mean and
deviation of a latent code, `at(features(pyramid), code)` the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oncoseg.blocks.supervision import labelled_weight
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "A Probabilistic U-Net for Segmentation of Ambiguous Images",
    2018,
    arxiv="1806.05034",
    reading="A beta of 10 is that of re-implementations for lung nodules and could not be checked "
    "in the paper; the authors' code for street scenes has 1.",
)


class Elbo(Method):
    """Loss at a code drawn from the posterior, plus `beta` times KL(posterior || prior).

    The paper sums cross-entropy over voxels (`loss="dice_ce:dice=0"`) and so weighs it against
    beta; losses here are means, so the divergence is divided by the number of values that the loss
    averages. Where a case has several raters, each batch should show one of them at random.
    """

    needs = ("labeled", "posterior")

    def __init__(self, network: Network, task: Task, loss: Loss, *, beta: float = 10.0) -> None:
        super().__init__(network, task, loss)
        if beta < 0:
            raise BadOption(f"beta of Elbo is at least 0, not {beta}")
        self.beta = beta

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`reconstruction` and `divergence`, which already holds its weight."""
        network: Any = self.network
        mean, deviation = network.posterior(batch)
        code = mean + deviation * torch.randn_like(mean)
        logits = network.at(network.features(network.encode(batch)), code)
        weight = labelled_weight(batch)
        known = batch.labeled.to(mean.dtype)
        apart = (divergence((mean, deviation), network.prior(batch)) * known).sum()
        values = weight.amax(1).sum() * (1 if self.task.exclusive else self.task.outputs)
        return {
            "reconstruction": self.loss(logits, batch.label, weight),
            "divergence": self.beta * apart / values.clamp_min(1),
        }


def divergence(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """KL of axis-aligned Gaussians, (mean, deviation) of (B, latent) each -> (B,), in nats."""
    (mean, deviation), (other, spread) = first, second
    ratio = (deviation / spread).square()
    moved = ((mean - other) / spread).square()
    return 0.5 * (ratio + moved - 1 - ratio.log()).sum(1)
