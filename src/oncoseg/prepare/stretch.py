"""Stretch: how other programs bring a scan onto a network's grid: so their models see the same.

nnU-Net cuts a scan to where any modality is not 0 and stretches its field of view to a whole number
of voxels near the wanted spacing: images by splines, logits linearly. MONAI cuts nothing, lets the
first voxel stay where it is and makes voxels exactly as long as wanted. Neither smooths first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Grid
from oncoseg.errors import BadData

if TYPE_CHECKING:
    from oncoseg.prepare.plan import Normalisation

NEAR = 1e-3  # mm, or a share, by which lengths differ that MONAI takes for equal
EXACT = 1e-8  # voxels by which the first one may not be the outermost
NOTHING = "holds nothing but 0; export it again"


@dataclass(frozen=True)
class Stretch:
    """What a plan says of it.

    `axes` are the file's axes in the order of the network's (`turned`: those of the scan turned to
    RAS), and run backwards where `signs` are -1; the first of them keeps its spacing where the
    network is `flat`; `order` is of the splines for images. Where the voxels of either side are
    more than `apart` times longer along one axis than along another, that axis is resampled for
    itself, by the nearest voxel. Models of MONAI are `whole`, not cut to what is not 0, and
    `pinned` by the first voxel, or keep their `own` voxels; intensities are normalised `late`,
    after that, and scans at last `cropped` to where any is above 0.
    """

    axes: tuple[int, ...] = (2, 1, 0)
    turned: bool = False
    flat: bool = False
    order: int = 3
    apart: float = 3.0
    signs: tuple[int, ...] = (1, 1, 1)
    whole: bool = False
    pinned: bool = False
    own: bool = False
    late: bool = False
    cropped: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stretch:
        """Inverse of `vars`, as JSON keeps it; raises `ValueError` or `TypeError` on nonsense."""
        tables = {name: tuple(data[name]) for name in ("axes", "signs") if name in data}
        found = cls(**{**data, **tables})
        sound = sorted(found.axes) == [0, 1, 2] and found.order in range(6) and found.apart >= 0
        if not sound or len(found.signs) != 3 or not {*found.signs} <= {-1, 1}:
            raise ValueError(
                "stretch has the axes 0, 1 and 2, signs of 1 or -1, an order from 0 to 5 and "
                "apart >= 0"
            )
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

    def onto(self, grid: Grid, spacing: Sequence[float]) -> Grid:
        """The network's grid for a scan on `grid`, whose axes are in its order."""
        if self.own:
            return grid
        if self.pinned:
            return pinned(grid, spacing)
        wanted = self.wanted(grid.spacing, spacing)
        return spread(grid, new_shape(grid.shape, grid.spacing, wanted))

    def prepared(
        self,
        arrays: Sequence[Array],
        grid: Grid,
        spacing: Sequence[float],
        schemes: Sequence[Normalisation],
    ) -> tuple[Array, Grid, int]:
        """Arrays (*S) on `grid`, in the network's order -> images (M, *S) and their grid.

        At last the axis that logits come back along by the nearest voxel, -1 for none. Raises
        `BadData` if nothing is left.
        """
        inside = np.ones(grid.shape, bool) if self.whole else filled(arrays)
        box = _box(inside)
        grid, inside = subgrid(grid, box), inside[box]
        wide, wanted = self.onto(grid, spacing), self.wanted(grid.spacing, spacing)
        there, back = self.alone(grid.spacing, wanted), self.alone(wanted, grid.spacing)
        image = np.empty((len(arrays), *wide.shape), dtype=np.float32)
        for row, scheme, array in zip(image, schemes, arrays):
            values = array[box]
            if not self.late:
                values = scheme(values, inside if scheme.masked else np.ones_like(inside))
            row[:] = (
                resampled(values, grid, wide, order=self.order)
                if self.pinned
                else stretched(values, wide.shape, order=self.order, alone=there)
            )
            if self.late:
                row[:] = scheme(row, np.ones(row.shape, bool))
        if self.cropped:
            box = _box(np.any(image > 0, axis=0))
            within: Any = (slice(None), *box)
            image, wide = image[within], subgrid(wide, box)
        return image, wide, back


def _box(inside: Array) -> tuple[slice, ...]:
    if not inside.any():
        raise BadData(NOTHING)
    return bounds(inside)


def subgrid(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """The grid of `array[box]`."""
    affine = grid.affine.copy()
    affine[:-1, -1] += affine[:-1, :-1] @ [piece.start for piece in box]
    return Grid(tuple(piece.stop - piece.start for piece in box), affine)


def pinned(grid: Grid, spacing: Sequence[float]) -> Grid:
    """Voxels of `spacing` from the first one on, as many as reach the last to the nearest voxel.

    Its axes are at right angles. Where those of the scan are not, be it by the rounding of its
    file, half of both shapes, in voxels, lies at one place instead, as in MONAI. Lengths that
    differ by `NEAR` stay, and so does a grid that differs as little.
    """
    linear, old = grid.affine[:-1, :-1], np.array(grid.spacing)
    axes, lengths = np.linalg.qr(linear)
    new = np.where(np.abs(old - spacing) <= NEAR, old, spacing)
    affine = grid.affine.copy()
    affine[:-1, :-1] = axes * np.sign(np.diag(lengths)) * new
    ends = np.stack(np.meshgrid(*[(0, size - 1) for size in grid.shape])).reshape(3, -1)
    ends = np.linalg.solve(affine[:-1, :-1], linear) @ ends
    shape = np.round(np.ptp(ends, axis=1) + 1).astype(int)
    if np.abs(ends.min(axis=1)).max() > EXACT:
        affine[:-1, -1] += linear @ (np.array(grid.shape) / 2) - affine[:-1, :-1] @ (shape / 2)
    same = (shape == grid.shape).all()
    apart = np.linalg.solve(grid.affine, affine) - np.eye(4)
    if same and (np.abs(apart).max() <= NEAR or np.allclose(grid.affine, affine, atol=NEAR)):
        return grid
    return Grid(tuple(int(size) for size in shape), affine)


def resampled(array: Array, source: Grid, target: Grid, *, order: int) -> Array:
    """`array` (*S) at the voxels of a `pinned` grid, float32; outside as at the nearest voxel."""
    if source is target:
        return array.astype(np.float32, copy=False)
    matrix = np.linalg.solve(source.affine, target.affine)
    linear, shift = matrix[:-1, :-1], matrix[:-1, -1]
    off = linear - np.diag(np.diag(linear))
    straight = np.abs(off @ np.diag(target.shape)).max() <= NEAR  # voxels; far quicker
    found = np.empty(target.shape, dtype=np.float32)
    ndimage.affine_transform(
        array.astype(np.float64),
        np.diag(linear) if straight else linear,
        shift,
        output=found,
        output_shape=target.shape,
        order=order,
        mode="nearest",
    )
    return found


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
