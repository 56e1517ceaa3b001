"""Multi-level activation: one map whose ordered thresholds are regions that lie in one another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from oncoseg import registry
from oncoseg.blocks.log_sigmoid import log_sigmoid
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption, BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Multi-level Activation for Segmentation of Hierarchically-nested Classes",
    2018,
    arxiv="1804.01910",
    reading="Our reading: the head alone, on any network; P(level >= n) = sigmoid(sharpness (z - "
    "t_n)) with t_n = (n - 1/2) gap, and the binary cross-entropy of each level in place "
    "of the paper's three losses, which were not verified; classes that exclude each other "
    "are levels in the order of the task. Sharpness and gap are ours. In two minutes of a "
    "core it falls behind the U-Net on polyps and hippocampi (docs/networks), since its "
    "steps are fewer: after as many, the U-Net has about as much on polyps.",
)


class MultilevelActivation(Network):
    """Any network with one output z; every threshold that z passes is a region further in.

    `network` is the one inside. Regions must lie within one another, in any order; exclusive
    classes are taken as rings, each around the next. What comes out is nested for any weights.
    """

    thresholds: Tensor

    def __init__(
        self, task: Task, *, network: str = "unet", sharpness: float = 10.0, gap: float = 0.5
    ) -> None:
        super().__init__()
        if sharpness <= 0 or gap <= 0:
            raise BadOption("MultilevelActivation takes a sharpness and a gap above 0")
        single = replace(task, regions={"level": tuple(task.labels)})
        self.network: Network = registry.build("networks", network, single)
        self.widths = self.network.widths
        self.exclusive, self.single = task.exclusive, single.exclusive
        places = levels(task)
        self.register_buffer("thresholds", gap * (torch.tensor(places) - 0.5), persistent=False)
        self.sharpness = sharpness
        self.alone = self.network.alone

    def encode(self, batch: Batch) -> list[Tensor]:
        """The pyramid of the network inside."""
        return self.network.encode(batch)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits of the regions, or of background and the classes, finest first."""
        return [self._levels(one) for one in self.network.decode(pyramid, batch)]

    def _levels(self, logits: Tensor) -> Tensor:
        z = logits[:, 1:] - logits[:, :1] if self.single else logits
        shape = (1, -1, *(1,) * (z.ndim - 2))
        passed = self.sharpness * (z.float() - self.thresholds.view(shape))
        return rings(passed) if self.exclusive else passed


def levels(task: Task) -> list[float]:
    """How deep each region lies, from 1; raises `BadRun` on two of which neither holds the other.

    Exclusive classes lie in the order of the task.
    """
    if task.exclusive:
        return [float(place) for place in range(1, len(task.regions) + 1)]
    sets = {name: set(members) for name, members in task.regions.items()}
    order = sorted(sets, key=lambda name: -len(sets[name]))
    for outer, inner in pairwise(order):
        if not sets[inner] < sets[outer]:
            raise BadRun(
                f"region {inner} does not lie within {outer}; multilevel_activation is for regions "
                "in one another"
            )
    return [1.0 + order.index(name) for name in task.regions]


def rings(passed: Tensor) -> Tensor:
    """log-odds (B, n, *S) of passing each threshold -> log-probability (B, n + 1, *S) of each ring.

    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)) for a > b.
    """
    above, below = log_sigmoid(passed), log_sigmoid(-passed)
    between = [
        above[:, at] + below[:, at + 1] + torch.log1p(-(passed[:, at + 1] - passed[:, at]).exp())
        for at in range(passed.shape[1] - 1)
    ]
    return torch.stack([below[:, 0], *between, above[:, -1]], dim=1)
