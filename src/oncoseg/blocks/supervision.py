"""What a loss is taken over: labelled voxels at every resolution, and predictions as labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from oncoseg.blocks.log_sigmoid import log_sigmoid
from oncoseg.blocks.pyramid import level_weights, shrink
from oncoseg.case import Batch


def labelled_weight(batch: Batch) -> Tensor:
    """(B, 1 or outputs, *S): the weight of each voxel, 0 where nothing is known of it.

    It has a channel an output where some item was not searched for all of them.
    """
    spatial = (1,) * (batch.weight.ndim - 2)
    weight = batch.weight * batch.labeled.view(-1, 1, *spatial)
    if bool(batch.annotated.all()):
        return weight
    return weight * batch.annotated.view(*batch.annotated.shape, *spatial)


def deep_loss(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    logits: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
) -> Tensor:
    """The loss at every resolution, finest first, each weighing half as much as the one before."""
    total = logits[0].new_zeros((), dtype=weight.dtype)
    for share, level in zip(level_weights(len(logits)), logits):
        shape = tuple(level.shape[2:])
        total = total + share * loss(level, shrink(target, shape), shrink(weight, shape))
    return total


def ramp_up(step: int, length: int) -> float:
    """exp(-5 (1 - step / length)^2) from exp(-5) to 1, and 1 from step `length` on."""
    return math.exp(-5 * (1 - min(step, length) / length) ** 2) if length else 1.0


def probability(logits: Tensor, exclusive: bool) -> Tensor:
    """Softmax for exclusive classes, sigmoids for regions; float32."""
    return logits.float().softmax(dim=1) if exclusive else logits.float().sigmoid()


def mean_logits(logits: Sequence[Tensor], exclusive: bool) -> Tensor:
    """Logits of the mean probability of several (B, outputs, *S); float32."""
    stacked = torch.stack(list(logits)).float()
    if exclusive:
        return stacked.log_softmax(2).logsumexp(0) - math.log(len(stacked))
    return log_sigmoid(stacked).logsumexp(0) - log_sigmoid(-stacked).logsumexp(0)


def pseudo_label(
    logits: Tensor, weight: Tensor, *, exclusive: bool, largest: bool = False
) -> Tensor:
    """Logits (B, outputs, *S) -> the label they predict, 0 or 1 of the same shape.

    The class with the largest logit, or the regions with a probability of at least 1/2; with
    `largest`, of each class or region only its largest connected component. Where `weight` (B, 1,
    *S) is 0 there is no scan, and what is predicted there means nothing: it is background.
    """
    values = logits.float()
    if exclusive:
        best = values.argmax(dim=1, keepdim=True)
        label = torch.zeros_like(values).scatter_(1, best, 1)
    else:
        label = (values >= 0).float()
    kept = label[:, int(exclusive) :] * (weight > 0)
    if largest:
        kept = largest_component(kept)
    return torch.cat([1 - kept.sum(1, keepdim=True), kept], dim=1) if exclusive else kept


def largest_component(mask: Tensor) -> Tensor:
    """Of every mask in (B, C, *S) the largest piece; voxels that share a corner are one piece."""
    array = mask.detach().cpu().numpy() > 0
    kept = np.zeros(array.shape, np.float32)
    near = np.ones((3,) * (array.ndim - 2), dtype=bool)
    for place in np.ndindex(array.shape[:2]):
        pieces, count = ndimage.label(array[place], structure=near)
        if count:
            kept[place] = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return torch.from_numpy(kept).to(mask.device)
