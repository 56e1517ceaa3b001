"""Structure loss: cross-entropy and Jaccard in which voxels count more the nearer a boundary is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Loss

CARD = Card(
    "F3Net: Fusion, Feedback and Focus for Salient Object Detection",
    2020,
    arxiv="1911.11445",
    reading="As PraNet and others use it, whose public code takes the plain mean of the "
    "cross-entropy by mistake (`weighted=false`). A class against all others stands for its one "
    "map where classes exclude one another; 3-D is ours.",
)


class Structure(Loss):
    """Mean over items and regions of sum(w b) / sum(w) + 1 - (sum(w p y) + 1) / (sum(w u) + 1).

    b is the binary cross-entropy of label y and probability p, u = p + y - p y, and w = 1 +
    `boundary` |mean of y within `side` voxels - y|, where beyond the edge there is nothing. With
    `weighted` false b has no weights. Background of exclusive classes is left out.
    """

    def __init__(
        self,
        *,
        exclusive: bool = True,
        boundary: float = 5.0,
        side: int = 31,
        weighted: bool = True,
    ) -> None:
        super().__init__(exclusive=exclusive)
        if side < 1 or side % 2 == 0 or boundary < 0:
            raise BadOption(
                f"Structure takes an odd side and a boundary of at least 0, not {side}, {boundary}"
            )
        self.boundary, self.side, self.weighted = boundary, side, weighted

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits, target (B, outputs, *S), weight (B, 1 or outputs, *S) -> scalar, in float32."""
        first = int(self.exclusive)
        found, label = logits.float(), target[:, first:].float()
        found = against_others(found)[:, 1:] if self.exclusive else found
        known = weight.float().expand(-1, target.shape[1], *target.shape[2:])[:, first:]
        near = known * (1 + self.boundary * (box_mean(label, self.side) - label).abs())
        axes = tuple(range(2, label.ndim))
        by = near if self.weighted else known
        entropy = F.binary_cross_entropy_with_logits(found, label, reduction="none")
        entropy = (entropy * by).sum(axes) / by.sum(axes).clamp_min(1e-6)
        chance = torch.sigmoid(found)
        shared = (chance * label * near).sum(axes)
        united = ((chance + label) * near).sum(axes) - shared
        counted = (known.sum(axes) > 0).float()
        each = (entropy + 1 - (shared + 1) / (united + 1)) * counted
        return each.sum() / counted.sum().clamp_min(1)


def against_others(logits: Tensor) -> Tensor:
    """Logits of classes (B, C, *S) -> log p / (1 - p) of the softmax p of each."""
    others = [
        torch.cat([logits[:, :place], logits[:, place + 1 :]], dim=1).logsumexp(dim=1)
        for place in range(logits.shape[1])
    ]
    return logits - torch.stack(others, dim=1)


def box_mean(values: Tensor, side: int) -> Tensor:
    """The mean of a cube of `side` voxels around each, with zeros beyond the edge; (B, C, *S)."""
    for axis in range(2, values.ndim):
        lines = values.movedim(axis, -1)
        padded = F.pad(lines.flatten(0, -2).unsqueeze(1), (side // 2, side // 2))
        values = F.avg_pool1d(padded, side, 1).reshape(lines.shape).movedim(-1, axis)
    return values
