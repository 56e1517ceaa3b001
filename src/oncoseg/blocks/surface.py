"""Surfaces of two masks and how far they lie apart, computed once for every metric that asks.

Distances are exact: nearest neighbours in a tree of surface points, whose cost grows with the
surfaces and not with the volume between them; a distance transform where large surfaces lie far
apart. Masks end at the edge of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from oncoseg.blocks.marching_cubes import areas, cell_codes
from oncoseg.blocks.overlap import Counts, check
from oncoseg.case import Array

SLACK_MM = 1e-6  # rounding in a spacing must not decide what lies exactly at the tolerance
# Measured, to choose the faster of two exact ways: a tree, or a distance transform of the box.
VISIT, VISIT_NS, TRANSFORM_NS = 12, 80.0, 120.0
SWEPT = 2.5  # voxel edges: about 65 neighbours


class Pair:
    """Two boolean masks (*S) on one grid; `shape` is that of the image where they are a part of it.

    What is computed of them is kept, so that metrics share it.
    """

    def __init__(
        self,
        prediction: Array,
        truth: Array,
        spacing: Sequence[float],
        shape: Sequence[int] | None = None,
    ) -> None:
        check(prediction, truth, spacing)
        self.whole = (prediction, truth)
        self.spacing = tuple(float(length) for length in spacing)
        self.shape = tuple(truth.shape if shape is None else shape)

    @property
    def diagonal(self) -> float:
        """The longest distance in the image, in mm."""
        return float(np.linalg.norm(np.multiply(self.shape, self.spacing)))

    @cached_property
    def counts(self) -> Counts:
        """How many voxels are in either and in both."""
        prediction, truth = self.whole
        return Counts(
            both=int(np.count_nonzero(prediction & truth)),
            predicted=int(np.count_nonzero(prediction)),
            true=int(np.count_nonzero(truth)),
            image=math.prod(self.shape),
            voxel_ml=math.prod(self.spacing) / 1000,
        )

    @cached_property
    def masks(self) -> tuple[Array, Array]:
        """Prediction and truth in the box around both, with a margin of one empty voxel."""
        box = bounds(self.whole[0] | self.whole[1])
        predicted, true = (np.pad(mask[box], 1) for mask in self.whole)
        return predicted, true

    @cached_property
    def empty(self) -> tuple[bool, bool]:
        """Whether the prediction and the truth are empty."""
        return not self.counts.predicted, not self.counts.true

    @cached_property
    def distances(self) -> tuple[Array, Array]:
        """Distances in mm of each surface voxel from the nearest one of the other mask.

        Prediction to truth, then truth to prediction; neither may be empty. A voxel is on the
        surface if a face of it touches a voxel outside; distances are between voxel centres.
        """
        predicted, true = (_shell(mask) for mask in self.masks)
        return _between(predicted, true, self.spacing)

    def ways(self, *, mesh: bool = False) -> list[tuple[Array, Array]]:
        """Distances in mm and what each counts, prediction to truth, then truth to prediction.

        Of surface voxels, which count alike, or with `mesh` of elements (see `agreement`), which
        count by area (mm²). Neither mask may be empty.
        """
        if mesh:
            return self._elements
        return [(distance, np.ones(len(distance))) for distance in self.distances]

    @cached_property
    def _elements(self) -> list[tuple[Array, Array]]:
        codes, elements = self._cells
        apart = _between(elements[0], elements[1], self.spacing)
        sizes = areas(self.spacing)
        return [(a, sizes[code[element]]) for a, code, element in zip(apart, codes, elements)]

    @cached_property
    def _cells(self) -> tuple[list[Array], list[Array]]:
        """Of both masks, the code of each cell, and whether the surface crosses it."""
        codes = [cell_codes(mask) for mask in self.masks]
        full = 2 ** (2 ** codes[0].ndim) - 1
        return codes, [(code > 0) & (code < full) for code in codes]

    def agreement(self, tolerance_mm: float) -> tuple[float, float]:
        """Area of both surfaces that lies within `tolerance_mm` of the other, and all of it (mm²).

        Surfaces are made of the elements that cross the cells between 2x2x2 voxel centres; an
        element lies at the centre of its cell. In 2-D they are lengths, in mm.
        """
        codes, elements = self._cells
        size = areas(self.spacing)
        within = total = 0.0
        limit = tolerance_mm + SLACK_MM
        apart = _between(elements[0], elements[1], self.spacing, limit=2 * SLACK_MM + tolerance_mm)
        for code, element, distance in zip(codes, elements, apart):
            area = size[code[element]]
            within += float(area[distance <= limit].sum())
            total += float(area.sum())
        return within, total


_shared: ContextVar[Pair | None] = ContextVar("pair", default=None)


@contextmanager
def shared(
    prediction: Array,
    truth: Array,
    spacing: Sequence[float],
    shape: Sequence[int] | None = None,
) -> Iterator[Pair]:
    """Within this block, metrics of these very arrays share what they compute.

    The arrays must not change in it, which is why nothing is kept outside of such a block. `shape`
    is that of the image of which they are a part.
    """
    token = _shared.set(Pair(prediction, truth, spacing, shape))
    try:
        yield pair(prediction, truth, spacing)
    finally:
        _shared.reset(token)


def pair(prediction: Array, truth: Array, spacing: Sequence[float]) -> Pair:
    """The pair of the `shared` block around, if it is of these very arrays; else a new one."""
    kept, new = _shared.get(), Pair(prediction, truth, spacing)
    same = kept is not None and all(a is b for a, b in zip(kept.whole, new.whole))
    return kept if kept is not None and same and kept.spacing == new.spacing else new


def bounds(mask: Array) -> tuple[slice, ...]:
    """The smallest box that holds a mask (*S), a slice an axis; empty slices if there is none."""
    box = [slice(0, size) for size in mask.shape]
    # Long strides first: what is left after cutting them lies close together in memory.
    for axis in np.argsort([-abs(stride) for stride in mask.strides], kind="stable"):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask[tuple(box)].any(axis=others))
        box[axis] = slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0)
    return tuple(box)


def _shell(mask: Array) -> Array:
    """A padded mask less its erosion by faces."""
    inner = (slice(1, -1),) * mask.ndim
    eroded = mask[inner].copy()
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            moved = list(inner)
            moved[axis] = side
            eroded &= mask[tuple(moved)]
    return mask[inner] & ~eroded


def _between(
    first: Array, second: Array, spacing: tuple[float, ...], *, limit: float = np.inf
) -> tuple[Array, Array]:
    """Distances in mm from each point of one mask to the nearest of the other, both ways.

    Beyond `limit` they may be infinite; so are they where there is no other point.
    """
    forth = _nearest(first, second, spacing, limit)
    return forth, _nearest(second, first, spacing, limit)


def _nearest(here: Array, there: Array, spacing: tuple[float, ...], limit: float) -> Array:
    """Distance in mm of each point of one mask to the nearest of the other."""
    common = there[here]
    distance = np.where(common, 0.0, np.inf)
    if common.all() or not there.any():
        return distance
    far = np.flatnonzero(~common)
    flat = np.flatnonzero(here)[far]
    far, flat, reached = _swept(distance, far, flat, there, spacing, limit)
    if not len(far) or reached >= limit:
        return distance
    points = np.stack(np.unravel_index(flat, here.shape), axis=1) * np.asarray(spacing)
    others = np.argwhere(there) * np.asarray(spacing)
    tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
    some = tree.query(points[:: len(points) // 64 + 1], distance_upper_bound=limit)[0]
    # A ball that far has about as many surface points on its own surface, all to be visited.
    visited = np.minimum(some, limit) ** 2 / np.prod(spacing) ** (2 / len(spacing))
    cost = len(points) * (VISIT + np.minimum(visited, len(others)).mean())
    if cost * VISIT_NS > here.size * TRANSFORM_NS:
        distance[far] = ndimage.distance_transform_edt(~there, spacing).ravel()[flat]
    else:
        distance[far] = tree.query(points, distance_upper_bound=limit)[0]
    return distance


def _swept(
    distance: Array,
    far: Array,
    flat: Array,
    there: Array,
    spacing: tuple[float, ...],
    limit: float,
) -> tuple[Array, Array, float]:
    """Look at the nearest neighbours of points one after the other, since most surfaces are close.

    `far` are the places in `distance` to be filled, `flat` those voxels. Returns what is left of
    both, and up to which distance all neighbours were looked at.
    """
    steps, lengths, reach, reached = _neighbours(spacing)
    wide = np.pad(there, [(size, size) for size in reach])
    deltas = (steps @ np.array([stride // wide.itemsize for stride in wide.strides])).tolist()
    seen = wide.ravel()
    places = [axis + size for axis, size in zip(np.unravel_index(flat, there.shape), reach)]
    where = np.ravel_multi_index(places, wide.shape)
    for delta, length in zip(deltas, lengths.tolist()):
        if length > limit:
            break
        hit = seen[where + delta]
        if hit.any():
            distance[far[hit]] = length
            far, flat, where = far[~hit], flat[~hit], where[~hit]
            if not len(far):
                break
    return far, flat, reached


@cache
def _neighbours(spacing: tuple[float, ...]) -> tuple[Array, Array, tuple[int, ...], float]:
    """The nearest steps from a voxel (N, dims), their lengths in mm, sorted, and how far they go.

    Every step of at most that length is among them.
    """
    radius = SWEPT * float(np.prod(spacing)) ** (1 / len(spacing))
    reach = tuple(int(radius / length) for length in spacing)
    grid = np.meshgrid(*[np.arange(-size, size + 1) for size in reach], indexing="ij")
    steps = np.stack([axis.ravel() for axis in grid], axis=1)
    lengths = np.linalg.norm(steps * np.array(spacing), axis=1)
    order = np.argsort(lengths, kind="stable")
    order = order[(lengths[order] > 0) & (lengths[order] <= radius)]
    return steps[order], lengths[order], reach, radius
