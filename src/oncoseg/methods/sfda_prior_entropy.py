"""Source-free adaptation: confident on new scans, with as much of each region as is expected."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "Source-Free Domain Adaptation for Image Segmentation",
    2022,
    arxiv="2108.03152",
    reading="Our reading: one prior for every patch, for it is not known which lack a region; "
    "overlapping regions are adapted each against its own background.",
)
TINY = 1e-10


class SfdaPriorEntropy(Method):
    """`entropy` * -sum(v p log p) a voxel + `divergence` * KL(q || t) a patch; no label is used.

    p are the probabilities, q their mean over a patch, t the class ratio expected there: `prior`,
    the share of the scan that each region fills in a patch (one number a region, or one for all),
    from anatomy and not from the labels of these scans. v is `balance`: of background, and of
    everything else. A rate of 1e-4 or lower suits a network that is trained already.
    """

    needs = ("start",)
    ratios: Tensor
    balance: Tensor

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        prior: tuple[float, ...] = (),
        balance: tuple[float, ...] = (0.1, 0.9),
        entropy: float = 1.0,
        divergence: float = 1.0,
    ) -> None:
        super().__init__(network, task, loss)
        self.entropy, self.divergence = entropy, divergence
        ratios = ratios_of(prior, task)
        rest = ratios.shape[1] - 1
        self.register_buffer("ratios", ratios, persistent=False)
        self.register_buffer(
            "balance", torch.tensor([balance[0], *[balance[1]] * rest]), persistent=False
        )

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`entropy` and `divergence`."""
        shares = chances(self.network(batch)[0], self.task.exclusive)
        count = shares.shape[0] // len(batch)
        weight = batch.weight.repeat_interleave(count, dim=0)
        expected = self.ratios.repeat(len(batch), 1)
        entropy = weighted_entropy(shares, weight, self.balance)
        divergence = ratio_divergence(shares, weight, expected)
        return {"entropy": self.entropy * entropy, "divergence": self.divergence * divergence}


def ratios_of(prior: tuple[float, ...], task: Task) -> Tensor:
    """Expected class ratios: (1, outputs) for exclusive classes, (regions, 2) for regions.

    Background comes first. Raises `BadOption` unless there is a share for every region.
    """
    count = len(task.regions)
    shares = torch.tensor(prior * count if len(prior) == 1 else prior)
    fits = len(shares) == count and all(0 < share < 1 for share in shares.tolist())
    if not fits or (task.exclusive and shares.sum() >= 1):
        example = "x".join(["0.02"] * count)
        raise BadOption(
            f"sfda_prior_entropy needs the share of the scan that each of {', '.join(task.regions)}"
            f" is expected to fill, as prior={example}, not '{'x'.join(map(str, prior))}'"
        )
    if task.exclusive:
        return torch.cat([1 - shares.sum(0, keepdim=True), shares])[None]
    return torch.stack([1 - shares, shares], dim=1)


def chances(logits: Tensor, exclusive: bool) -> Tensor:
    """Probabilities (B, outputs, *S); of regions (B * regions, 2, *S), background first."""
    if exclusive:
        return logits.float().softmax(dim=1)
    inside = logits.float().sigmoid().flatten(0, 1)
    return torch.stack([1 - inside, inside], dim=1)


def weighted_entropy(shares: Tensor, weight: Tensor, balance: Tensor) -> Tensor:
    """-sum over classes of balance * p log p, in nats, mean over voxels by weight (N, 1, *S)."""
    each = -(shares * (shares + TINY).log()).movedim(1, -1) @ balance
    mean: Tensor = (each * weight[:, 0]).sum() / weight.sum().clamp_min(1)
    return mean


def ratio_divergence(shares: Tensor, weight: Tensor, expected: Tensor) -> Tensor:
    """KL(q || expected) of the mean probabilities q of each item, (N, classes); mean over items."""
    space = tuple(range(2, shares.ndim))
    found = (shares * weight).sum(space) / weight.sum(space).clamp_min(1)
    return (found * ((found + TINY).log() - (expected + TINY).log())).sum(1).mean()
