"""Self-guided attention: both passes should say the same, and what guides should copy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.supervision import labelled_weight
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Multi-scale self-guided attention for medical image segmentation",
    2020,
    arxiv="1906.02849",
    doi="10.1109/JBHI.2020.2986926",
    reading="Weights are those of the public code (no licence; read, not copied); the loss of each "
    "map is the run's, where the paper's is cross-entropy.",
)


class SelfGuided(Method):
    """Loss of all maps, summed, + `vectors` and `copies` times the mean squares between `Guides`.

    The former, summed over scales, lie between the vectors of both passes; the latter, summed over
    scales and passes, between what goes into a semantic module and what comes out of it.
    """

    needs = ("labeled", "guides")

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        vectors: float = 0.25,
        copies: float = 0.1,
    ) -> None:
        super().__init__(network, task, loss)
        self.vectors, self.copies = vectors, copies

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Three losses, `segmentation`, `vectors` and `copies`."""
        logits, guides = self.network.guided(self.network.encode(batch), batch)  # type: ignore[operator]
        weight = labelled_weight(batch)
        maps = [self.loss(each, batch.label, weight) for each in logits]
        return {
            "segmentation": torch.stack(maps).sum(),
            "vectors": self.vectors * squares(guides.pairs),
            "copies": self.copies * squares(guides.copies),
        }


def squares(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum over pairs of the mean squared difference."""
    return torch.stack([F.mse_loss(one, other) for one, other in pairs]).sum()
