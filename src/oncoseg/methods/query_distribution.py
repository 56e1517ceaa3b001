"""Query distribution: groups of object queries must hold the voxels of their own kind."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.supervision import deep_loss, labelled_weight
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Devil is in the Queries: Advancing Mask Transformers for Real-world Medical Image "
    "Segmentation and Out-of-Distribution Localization",
    2023,
    arxiv="2304.00212",
    reading="No code is public: half of the queries are the background's, the rest is split "
    "evenly over the classes (over one foreground where regions overlap), the loss weighs 1.",
)


class QueryDistribution(Method):
    """Segmentation loss + `share` * cross-entropy between groups of queries and what they hold.

    With M_n(x) the membership of voxel x in query n, G_g the queries of group g and y_g the share
    of x that is of its kind, the loss is the mean of -sum_g y_g log sum_{n in G_g} M_n. Items in
    which some class was not annotated have no part in it: their background is not known.
    """

    needs = ("labeled", "queries")

    def __init__(self, network: Network, task: Task, loss: Loss, *, share: float = 1.0) -> None:
        super().__init__(network, task, loss)
        self.share = share

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Two losses, `segmentation` and `distribution`."""
        responses, kinds = self.network.respond(self.network.encode(batch))  # type: ignore[operator]
        logits = [self.network.logits(responses, kinds)]  # type: ignore[operator]
        mass = self.network.mass(responses)  # type: ignore[operator]
        weight = labelled_weight(batch)
        known = weight.amin(dim=1, keepdim=True)
        entropy = group_entropy(mass, self._groups(batch.label), known)
        return {
            "segmentation": deep_loss(self.loss, logits, batch.label, weight),
            "distribution": self.share * entropy,
        }

    def _groups(self, label: Tensor) -> Tensor:
        """Membership of each group (B, groups, *S): the classes, or background and any region."""
        if self.task.exclusive:
            return label
        inside = label.amax(dim=1, keepdim=True)
        return torch.cat([1 - inside, inside], dim=1)


def group_entropy(mass: Tensor, kinds: Tensor, weight: Tensor) -> Tensor:
    """Masses and kinds (B, groups, *S), weight (B, 1, *S) -> mean of -sum_g kind_g log mass_g."""
    entropy = -(kinds * mass.clamp(1e-6, 1).log()).sum(dim=1, keepdim=True)
    return (entropy * weight).sum() / weight.sum().clamp_min(1)
