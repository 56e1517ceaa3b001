"""Stretch: how nnU-Net brings a scan onto a network's grid, kept so that its models see the same.

A scan is cut to where any modality is not 0, and its field of view stretched to a whole number of
voxels near the wanted spacing: images by splines, logits linearly. Nothing is smoothed first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.case import Array, Grid


@dataclass(frozen=True)
class Stretch:
    """What a plan says of it.

    `axes` are the file's axes in the order of the network's (`turned`: those of the scan turned to
    RAS); the first of them keeps its spacing where the network is `flat`; `order` is of the splines
    for images. Where the voxels of either side are more than `apart` times longer along one axis
    than along another, that axis is resampled for itself, by the nearest voxel.
    """

    axes: tuple[int, ...] = (2, 1, 0)
    turned: bool = False
    flat: bool = False
    order: int = 3
    apart: float = 3.0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stretch:
        """Inverse of `vars`, as JSON keeps it; raises `ValueError` or `TypeError` on nonsense."""
        found = cls(**{**data, "axes": tuple(data["axes"])})
        sound = sorted(found.axes) == [0, 1, 2] and found.order in range(6) and found.apart >= 0
        if not sound:
            raise ValueError("stretch has the axes 0, 1 and 2, an order from 0 to 5 and apart >= 0")
        return found

    def wanted(self, own: Sequence[float], spacing: Sequence[float]) -> tuple[float, ...]:
        """Spacing of the network's grid for a scan of spacing `own`, both in its order of axes."""
        return (own[0], *spacing[1:]) if self.flat else tuple(spacing)

    def alone(self, old: Sequence[float], new: Sequence[float]) -> int:
        """The axis that is resampled for itself from one spacing to the other; -1 for none."""
        for spacing in (old, new):
            if max(spacing) / min(spacing) > self.apart:
                longest = [axis for axis, length in enumerate(spacing) if length == max(spacing)]
                return longest[0] if len(longest) == 1 else -1
        return -1


def new_shape(shape: Sequence[int], old: Sequence[float], new: Sequence[float]) -> tuple[int, ...]:
    """Voxels an axis after going from one spacing to the other."""
    return tuple(max(1, round(a / b * size)) for a, b, size in zip(old, new, shape))


def turned(grid: Grid, order: list[int], flips: Array) -> Grid:
    """The grid of an array after `transpose(order)`, and flipped along axes where `flips` is -1."""
    affine = grid.affine.copy()
    affine[:-1, :-1] = grid.affine[:-1, :-1][:, order] * flips
    shape = tuple(grid.shape[axis] for axis in order)
    affine[:-1, -1] -= affine[:-1, :-1] @ np.where(flips < 0, np.array(shape) - 1, 0)
    return Grid(shape, affine)


def spread(grid: Grid, shape: tuple[int, ...]) -> Grid:
    """The same field of view in another number of voxels."""
    ratio, affine = np.array(grid.shape) / np.array(shape), grid.affine.copy()
    affine[:-1, -1] += affine[:-1, :-1] @ (ratio / 2 - 0.5)
    affine[:-1, :-1] *= ratio
    return Grid(shape, affine)


def filled(arrays: Sequence[Array]) -> Array:
    """Where any of the arrays (*S) is not 0, and what that encloses."""
    inside = arrays[0] != 0
    for array in arrays[1:]:
        inside |= array != 0
    found: Array = ndimage.binary_fill_holes(inside)
    return found


def stretched(array: Array, shape: Sequence[int], *, order: int, alone: int = -1) -> Array:
    """`array` (*S) over the same field of view in voxels of another size, (*shape) float32.

    Splines overshoot: values stay between the least and the largest there were, of each slice where
    an axis stands `alone`.
    """
    if array.shape == tuple(shape):
        return array.astype(np.float32, copy=False)
    if alone < 0:
        return _zoomed(array, shape, order)
    plane = [size for axis, size in enumerate(shape) if axis != alone]
    slices = np.moveaxis(array, alone, 0)
    count, size = len(slices), shape[alone]
    nearest = np.floor(count / size * (np.arange(size) + 0.5) - 0.5 + 0.5).astype(int)
    used, where = np.unique(nearest, return_inverse=True)
    found = np.stack([_zoomed(slices[index], plane, order) for index in used])
    return np.moveaxis(found[where], 0, alone)


def _zoomed(array: Array, shape: Sequence[int], order: int) -> Array:
    if array.shape == tuple(shape):
        return array.astype(np.float32, copy=False)
    exact = array.astype(np.float64)
    found = np.empty(shape)
    ratios = [new / old for new, old in zip(shape, array.shape)]
    ndimage.zoom(exact, ratios, output=found, order=order, mode="nearest", grid_mode=True)
    if order > 1:
        np.clip(found, exact.min(), exact.max(), out=found)
    return found.astype(np.float32)
