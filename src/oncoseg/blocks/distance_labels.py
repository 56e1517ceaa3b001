"""Labels that say how far from a boundary a voxel lies, and how thick what it belongs to is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from oncoseg.case import Array


def distance_label(mask: Array) -> Array:
    """Boolean mask (*S) -> float32 (*S) in [-1, 1]: above 0 inside, below 0 outside.

    With d the distance to the boundary in voxels and T the largest inside, b = d / T inside and
    -min(d, T) / T outside; t is the largest d / T inside within a box of side T, outside of 2 T, so
    thin structures have a small one. b + (1 - t) inside and b - (1 - t) outside, cut to [-1, 1]:
    the middle of what is thin is as sure as that of what is thick. All -1 for an empty mask, all 1
    for a full one.
    """
    label = np.full(mask.shape, -1, np.float32)
    if not mask.any():
        return label
    if mask.all():
        return -label
    near = _cut(mask, 1)
    most = float(ndimage.distance_transform_edt(mask[near]).max())
    near = _cut(mask, math.ceil(most) + 1)  # further away all is -1
    here = mask[near]
    inside = ndimage.distance_transform_edt(here) / most
    outside = np.minimum(ndimage.distance_transform_edt(~here) / most, 1)
    side = math.ceil(most) // 2 * 2 + 1
    wide = math.ceil(most) * 2 // 2 * 2 + 1
    own = 1 - ndimage.maximum_filter(inside, side, mode="constant")
    beside = 1 - ndimage.maximum_filter(inside, wide, mode="constant")
    label[near] = np.clip(np.where(here, inside + own, -outside - beside), -1, 1)
    return label


def distance_labels(target: Tensor) -> Tensor:
    """`distance_label` of every mask (B, C, *S), 1 where above 1/2; of the same shape, float32."""
    masks = target.detach().cpu().numpy() >= 0.5
    found = np.empty(masks.shape, np.float32)
    for place in np.ndindex(masks.shape[:2]):
        found[place] = distance_label(masks[place])
    return torch.from_numpy(found).to(target.device)


def _cut(mask: Array, margin: int) -> Any:
    """The box round a mask, wider by `margin` as far as there are voxels."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)
