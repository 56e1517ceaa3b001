"""Learning where contours run: nodes are drawn to landmarks that outlines of the labels give.

Works with networks that give contours: `nodes` is how many each region has, `code(pyramid)` mean
and logarithm of the variance of what they are made of, `contours(pyramid, code)` their places and
two guesses, `flat` the slices of a volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from oncoseg.blocks.contours import contours
from oncoseg.blocks.supervision import labelled_weight
from oncoseg.case import Array, Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Improving Anatomical Plausibility in Medical Image Segmentation via Hybrid Graph Neural "
    "Networks: Applications to Chest X-ray Analysis",
    2022,
    arxiv="2203.10977",
    doi="10.1109/TMI.2022.3224660",
    reading="The paper's landmarks were set by people; here they are spread evenly along the "
    "longest outline of each region, from its topmost point on, and a region that is not there is "
    "a point in the middle.",
)
FINER = 16  # points a landmark, of which one is the first


class Landmarks(Method):
    """Mean squared error of places and of both guesses, and `divergence` times KL from N(0, 1).

    Places are from 0 to 1 of the padded image; the first guess, of the coarser graph, is drawn to
    every other landmark. The run's loss is not used.
    """

    needs = ("labeled", "contours")

    def __init__(
        self, network: Network, task: Task, loss: Loss, *, divergence: float = 1e-5
    ) -> None:
        super().__init__(network, task, loss)
        if divergence < 0:
            raise BadOption(f"divergence of Landmarks is at least 0, not {divergence}")
        self.divergence = divergence

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`places`, `guesses` and `divergence`, which already holds its weight."""
        network: Any = self.network
        pyramid = network.encode(batch)
        mean, spread = network.code(pyramid)
        drawn = mean + (spread / 2).exp() * torch.randn_like(mean)
        found = network.contours(pyramid, drawn)
        weight = network.flat(labelled_weight(batch)).amax((2, 3))
        regions = network.flat(batch.label)[:, int(self.task.exclusive) :]
        known = weight[:, -1:].expand(-1, regions.shape[1])
        if weight.shape[1] > 1:
            known = weight[:, int(self.task.exclusive) :]
        size = network.padded(regions.shape[2:]).to(mean)
        target, sure = self._targets(regions, known, size, network.nodes)
        few = torch.cat([part[:, ::2] for part in target.split(network.nodes, 1)], dim=1)
        rare = torch.cat([part[:, ::2] for part in sure.split(network.nodes, 1)], dim=1)
        kl = -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1)
        some = (known.amax(1) > 0).to(kl.dtype)
        return {
            "places": _error(found[0], target, sure),
            "guesses": _error(found[1], few, rare) + _error(found[2], target, sure),
            "divergence": self.divergence * (kl * some).sum() / some.sum().clamp_min(1),
        }

    def _targets(
        self, regions: Tensor, known: Tensor, size: Tensor, nodes: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Masks (B, R, rows, columns), weights (B, R) -> places (B, N, 2) and weights (B, N, 1)."""
        masks = regions.detach().cpu().numpy() > 0.5
        items = [
            np.concatenate([landmarks(mask, count) for mask, count in zip(item, nodes)])
            for item in masks
        ]
        places = torch.tensor(np.stack(items), dtype=torch.float32).to(size) / size
        places = torch.where(places.isnan(), torch.full_like(places, 0.5), places)
        sure = torch.cat(
            [known[:, at : at + 1].expand(-1, count) for at, count in enumerate(nodes)], dim=1
        )
        return places, (sure > 0).to(places.dtype)[..., None]


def landmarks(mask: Array, count: int) -> Array:
    """Mask -> (count, 2) as (row, column) in pixels, evenly along its longest outline.

    From the topmost point on, clockwise; NaN if there is none.
    """
    outlines = contours(mask)
    if not outlines:
        return np.full((count, 2), np.nan)
    closed = [np.array([*each, each[0]], float)[:, ::-1] / 2 - 0.5 for each in outlines]
    lengths = [np.linalg.norm(np.diff(each, axis=0), axis=1) for each in closed]
    longest = max(range(len(closed)), key=lambda at: lengths[at].sum())
    outline = closed[longest]
    rows, columns = outline.T
    if (rows[:-1] * columns[1:] - rows[1:] * columns[:-1]).sum() > 0:
        outline = outline[::-1]
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    asked = np.arange(count * FINER) * (along[-1] / (count * FINER))
    points = np.stack([np.interp(asked, along, axis) for axis in outline.T], axis=-1)
    beside = np.abs(points[:, 1] - points[:, 1].mean())
    first = int(np.lexsort((beside, points[:, 0].round(6)))[0])
    return np.roll(points, -first, axis=0)[::FINER]


def _error(found: Tensor, target: Tensor, sure: Tensor) -> Tensor:
    """Mean over coordinates that are known."""
    return ((found - target).square() * sure).sum() / (2 * sure.sum()).clamp_min(1)
