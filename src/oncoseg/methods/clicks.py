"""Learning to follow clicks: the network's own errors say where the next ones go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oncoseg.blocks.clicks import asked, corrections, drawn_box, one_piece, sampled
from oncoseg.blocks.supervision import deep_loss
from oncoseg.case import Array, Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Interactive segmentation of medical images through fully convolutional neural networks",
    2019,
    arxiv="1903.08205",
    reading="The number of rounds is drawn, from 0 to `rounds`, so that a first click is learnt as "
    "well. Networks that read boxes start from one half of the time, as SAM-Med2D does. Items "
    "without prompts learn to segment everything that has a label.",
)
BOXED = 0.5


class Clicks(Method):
    """One region of each item is the target; it is clicked, and what is wrong is clicked again.

    Round j clicks a voxel of what is missed and one of what is wrongly taken, each with probability
    1 - j / `rounds`. `connected` takes one connected piece of the region, so that a click means one
    lesion. A share `automatic` of the items gets no prompt.
    """

    needs = ("labeled", "prompts")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        rounds: int = 5,
        automatic: float = 0.1,
        connected: bool = False,
    ) -> None:
        super().__init__(network, task, loss)
        if rounds < 0 or not 0 <= automatic <= 1:
            raise BadOption(
                "Clicks takes rounds of at least 0 and an automatic share from 0 to 1, "
                f"not {rounds} and {automatic}"
            )
        self.rounds, self.automatic, self.connected = rounds, automatic, connected

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """Whatever is pointed at, against everything else."""
        return replace(task, labels={"target": 1}, regions={"target": ("target",)})

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `clicks`: of what the last click gives."""
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        rows = [self._goal(batch, item, rng) for item in range(len(batch))]
        goal = torch.stack([row[0] for row in rows])
        weight = batch.weight * torch.stack([row[1] for row in rows]).view(-1, *(1,) * goal[0].ndim)
        batch = self._prompted(batch, goal, [row[2] for row in rows], rng)
        label = torch.cat([1 - goal, goal], dim=1)
        return {"clicks": deep_loss(self.loss, self.network(batch), label, weight)}

    def _goal(
        self, batch: Batch, item: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, bool]:
        """Target (1, *S) of an item, whether it is known, and whether it is pointed at."""
        first = int(self.task.exclusive)
        regions, known = batch.label[item, first:], batch.annotated[item, first:]
        filled = torch.nonzero(known & (regions.flatten(1).amax(1) > 0.5)).flatten()
        if not len(filled) or rng.random() < self.automatic:
            return regions.amax(0, keepdim=True), batch.labeled[item] & known.all(), False
        goal = regions[filled[int(rng.integers(len(filled)))]][None]
        if self.connected:
            goal = goal * torch.from_numpy(one_piece(_shown(goal[0]), rng)).to(goal)
        return goal, batch.labeled[item], True

    def _prompted(
        self, batch: Batch, goal: Tensor, pointed: list[bool], rng: np.random.Generator
    ) -> Batch:
        """The batch with the prompts of a person who corrects this network, for so many rounds."""
        clicks: list[list[tuple[Array, bool]]] = [[] for _ in pointed]
        boxes: list[list[Array]] = [[] for _ in pointed]
        truth = [_shown(target[0]) for target in goal]
        for item in np.flatnonzero(pointed):
            if "boxes" in self.network.gives and rng.random() < BOXED:
                boxes[item].append(drawn_box(truth[item], rng))
            else:
                clicks[item].append((sampled(truth[item], rng)[0], True))
        batch, training = asked(batch, clicks, boxes), self.network.training
        self.network.eval()
        with torch.no_grad():
            pyramid = self.network.encode(batch)
            for turn in range(int(rng.integers(self.rounds + 1))):
                share = self.network.decode(pyramid, batch)[0].float().softmax(1)[:, 1:]
                for item in np.flatnonzero(pointed):
                    mask, chance = _shown(share[item, 0]), 1 - turn / self.rounds
                    clicks[item] += corrections(truth[item], mask, chance, rng)
                batch = asked(batch, clicks, boxes, share)
        self.network.train(training)
        torch.clear_autocast_cache()  # it holds weights that were cast without gradient
        return batch


def _shown(membership: Tensor) -> Array:
    return np.asarray((membership > 0.5).cpu())
