"""Soft Dice of the batch plus cross-entropy, for exclusive classes or overlapping regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.registry import Card
from oncoseg.trainable import Loss

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
)


class DiceCe(Loss):
    """(1 - Dice) * `dice` + cross-entropy * `ce`.

    Dice is taken over the whole batch for every output that has weight, background left out;
    cross-entropy is the softmax's for exclusive classes, the sigmoid's for regions. Where a class
    has less weight than others of its voxel it was not looked for: exclusive ones are merged with
    background (marginal loss), regions are left out.
    """

    def __init__(
        self, *, exclusive: bool = True, dice: float = 1.0, ce: float = 1.0, smooth: float = 1e-5
    ) -> None:
        super().__init__(exclusive=exclusive)
        self.dice, self.ce, self.smooth = dice, ce, smooth

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits, target (B, outputs, *S), weight (B, 1 or outputs, *S) -> scalar.

        Computed in float32.
        """
        logits, weight = logits.float(), weight.float()
        if self.exclusive:
            return self._exclusive(logits, target, weight)
        weight = weight.expand_as(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        mean = (entropy * weight).sum() / weight.sum().clamp_min(1)
        return self.ce * mean + self.dice * self._dice(logits.sigmoid(), target, weight)

    def _exclusive(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        voxel = weight.amax(1, keepdim=True)
        if weight.shape[1] > 1:
            logits, target = self._merge(logits, target, weight)
        entropy = -(F.log_softmax(logits, dim=1).clamp_min(-1e4) * target).sum(1, keepdim=True)
        mean = (entropy * voxel).sum() / voxel.sum().clamp_min(1)
        shares = logits.softmax(dim=1)[:, 1:]
        foreground = (weight[:, 1:] if weight.shape[1] > 1 else voxel).expand_as(shares)
        return self.ce * mean + self.dice * self._dice(shares, target[:, 1:], foreground)

    def _merge(self, logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Move what was not looked for in a voxel into its background, logits and target alike."""
        known = weight >= weight.amax(1, keepdim=True)
        known[:, 0] = True
        rest = logits.masked_fill(known, -torch.inf)
        background = torch.logsumexp(
            torch.cat([logits[:, :1], rest[:, 1:]], dim=1), dim=1, keepdim=True
        )
        merged = torch.cat([background, logits[:, 1:].masked_fill(~known[:, 1:], -1e4)], dim=1)
        lost = (target * ~known).sum(1, keepdim=True)
        kept = target * known
        return merged, torch.cat([kept[:, :1] + lost, kept[:, 1:]], dim=1)

    def _dice(self, shares: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        axes = (0, *range(2, shares.ndim))
        overlap = (shares * target * weight).sum(axes)
        total = ((shares + target) * weight).sum(axes)
        counted = (weight.sum(axes) > 0).float()
        score = (2 * overlap + self.smooth) / (total + self.smooth)
        return ((1 - score) * counted).sum() / counted.sum().clamp_min(1)
