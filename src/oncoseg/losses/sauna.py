"""SAUNA: regression of labels that are the less sure the nearer a boundary, and a signed Jaccard.

The labels are made of the masks as they are shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.distance_labels import distance_labels
from oncoseg.blocks.supervision import probability
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss

CARD = Card(
    "Image-level Regression for Uncertainty-aware Retinal Image Segmentation",
    2024,
    arxiv="2405.16815",
    reading="Labels, both losses and their constants are those of the public code (MIT), which "
    "makes labels once an image of 512 x 512 by an approximate distance; here the distance is "
    "exact and each patch has its own largest. Its tanh is 2 p - 1 of the probability p here, so "
    "that its threshold 0 is p = 1/2. 3-D and several outputs are ours.",
)


class Sauna(Loss):
    """Focal L1 * `distance` + Jaccard * `jaccard` of x = 2 p - 1 and the soft label y in [-1, 1].

    Focal L1 is `alpha` |x - y|^(1 + `beta`) where x and y have one sign, else |x - y|. Jaccard is
    that of the positive and of the negative parts: over both together if `pooled`, else the sum of
    the two. Background of exclusive classes is left out, as what is not looked for.
    """

    def __init__(
        self,
        *,
        exclusive: bool = True,
        alpha: float = 2.0,
        beta: float = 1.0,
        distance: float = 1.0,
        jaccard: float = 1.0,
        pooled: bool = True,
    ) -> None:
        super().__init__(exclusive=exclusive)
        if min(alpha, beta) <= 0:
            raise BadOption(f"Sauna takes alpha and beta above 0, not {alpha} and {beta}")
        self.alpha, self.beta, self.pooled = alpha, beta, pooled
        self.distance, self.jaccard = distance, jaccard

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits, target (B, outputs, *S), weight (B, 1 or outputs, *S) -> scalar, in float32."""
        first = int(self.exclusive)
        found = 2 * probability(logits, self.exclusive)[:, first:] - 1
        soft = distance_labels(target[:, first:])
        weight = weight.float().expand(-1, target.shape[1], *target.shape[2:])[:, first:]
        distance = (focal_l1(found, soft, self.alpha, self.beta) * weight).sum()
        distance = distance / weight.sum().clamp_min(1)
        counted = (weight.sum((0, *range(2, weight.ndim))) > 0).float()
        jaccard = signed_jaccard(found, soft, weight, pooled=self.pooled)
        jaccard = (jaccard * counted).sum() / counted.sum().clamp_min(1)
        return self.distance * distance + self.jaccard * jaccard

    def ideal(self, target: Tensor) -> Tensor:
        """Logits whose probability is (1 + y) / 2."""
        share = (1 + distance_labels(target[:, int(self.exclusive) :])).clamp(2e-6, 2 - 2e-6) / 2
        if not self.exclusive:
            return share.logit()
        return torch.cat([(1 - share.sum(1, keepdim=True)).clamp_min(1e-6), share], dim=1).log()


def focal_l1(found: Tensor, soft: Tensor, alpha: float, beta: float) -> Tensor:
    """`alpha` |x - y|^(1 + `beta`) where both have one sign, else |x - y|; of the same shape."""
    away = (found - soft).abs()
    return torch.where(found * soft > 0, alpha * away ** (1 + beta), away)


def signed_jaccard(found: Tensor, soft: Tensor, weight: Tensor, *, pooled: bool = True) -> Tensor:
    """1 - |both| / |either| of every output, in [0, 1], or in [0, 2] where not `pooled`.

    Of parts x, y >= 0, |both| = (|x + y| - |x - y|) / 2 = min(x, y) and |either| = max(x, y).
    """
    axes, signs = (0, *range(2, found.ndim)), (1, -1)
    parts = [((sign * found).relu(), (sign * soft).relu()) for sign in signs]
    both = torch.stack([(torch.minimum(x, y) * weight).sum(axes) for x, y in parts])
    either = torch.stack([(torch.maximum(x, y) * weight).sum(axes) for x, y in parts])
    if pooled:
        both, either = both.sum(0, keepdim=True), either.sum(0, keepdim=True)
    return (1 - (both + 1e-8) / (either + 1e-8)).sum(0)
