"""Learning at points: a network that answers for places is asked at some, half of them at borders.

Works with networks that give points: `codes(encode(batch))` is what they know of the image,
`at(codes, image, places)` the logits there, `coarse(pyramid)` those of the encoder, if any.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.implicit import border, drawn
from oncoseg.blocks.pyramid import shrink
from oncoseg.blocks.supervision import labelled_weight
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "OSS-Net: Memory Efficient High Resolution Semantic Segmentation of 3D Medical Data",
    2021,
    arxiv="2110.10640",
    reading="The public code can keep the hardest 0.8 of the points alone and does not where it "
    "trains, so here all count by default; coarse targets are means where it takes maxima.",
)


class Occupancy(Method):
    """Cross-entropy at `points` voxels an item, a share `balance` of them at borders of the label.

    The `hardest` share of them counts; where the encoder has logits of its own, their
    cross-entropy is added `auxiliary` times. Memory grows with the points, not with the patch; the
    paper has 16384. The run's loss is not used.
    """

    needs = ("labeled", "points")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        points: int = 2048,
        balance: float = 0.5,
        hardest: float = 1.0,
        auxiliary: float = 0.1,
    ) -> None:
        super().__init__(network, task, loss)
        if points < 1 or not 0 <= balance <= 1 or not 0 < hardest <= 1 or auxiliary < 0:
            raise BadOption(
                "Occupancy takes points of at least 1, a balance from 0 to 1, a hardest share "
                f"above 0 and up to 1 and an auxiliary of at least 0, not {points}, {balance}, "
                f"{hardest} and {auxiliary}"
            )
        self.points, self.balance = points, balance
        self.hardest, self.auxiliary = hardest, auxiliary

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`occupancy`, and `auxiliary` where the encoder has logits, which holds its weight."""
        network: Any = self.network
        places = drawn(border(batch.label), self.points, self.balance)
        pyramid, weight = network.encode(batch), labelled_weight(batch)
        image = batch.image * batch.present
        logits = network.at(network.codes(pyramid), image, places)
        costs = self._costs(logits, _there(batch.label, places), _there(weight, places))
        found = {"occupancy": costs}
        for coarse in network.coarse(pyramid):
            shape = tuple(coarse.shape[2:])
            given = shrink(batch.label, shape).flatten(2), shrink(weight, shape).flatten(2)
            found["auxiliary"] = self.auxiliary * self._costs(coarse.flatten(2), *given)
        return found

    def _costs(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits and target (B, outputs, P), weight (B, 1 or outputs, P) -> mean of the hardest."""
        logits = logits.float()
        if self.task.exclusive:
            costs = F.cross_entropy(logits, target, reduction="none")
            weight = weight.amin(1)
        else:
            costs = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
            weight = weight.expand_as(costs)
        costs, weight = (costs * weight).flatten(), weight.flatten()
        kept = costs.topk(max(1, int(self.hardest * costs.numel()))).indices
        return costs[kept].sum() / weight[kept].sum().clamp_min(1e-6)


def _there(values: Tensor, places: Tensor) -> Tensor:
    """(B, C, *S) at voxels (B, P, dims) -> (B, C, P)."""
    items = torch.arange(len(values), device=values.device)[:, None].expand(places.shape[:2])
    box: Any = (items, slice(None), *places.unbind(-1))
    return values[box].transpose(1, 2)
