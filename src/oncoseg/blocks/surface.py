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
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from oncoseg.blocks.overlap import Counts, check
from oncoseg.case import Array

SLACK_MM = 1e-6  # rounding in a spacing must not decide what lies exactly at the tolerance
# Measured, to choose the faster of two exact ways: a tree, or a distance transform of the box.
VISIT, VISIT_NS, TRANSFORM_NS = 12, 80.0, 120.0
SWEPT = 2.5  # voxel edges: about 65 neighbours
CORNERS = np.array(list(product((0, 1), repeat=3)))  # bit i of a cell's code is its corner i


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
        codes = [_codes(mask) for mask in self.masks]
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


def _codes(mask: Array) -> Array:
    """A padded mask -> for each cell between voxel centres, which of its corners are inside."""
    codes = np.zeros([size - 1 for size in mask.shape], dtype=np.uint8)
    voxels = mask.view(np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        part = tuple(slice(at, at + size) for at, size in zip(corner, codes.shape))
        codes |= voxels[part] << np.uint8(bit)
    return codes


def areas(spacing: tuple[float, ...]) -> Array:
    """Area in mm² of the surface in a cell, by the code of its corners; in 2-D its length in mm."""
    if len(spacing) == 2:
        slanted = float(np.hypot(*spacing)) / 2
        along = {3: spacing[1], 12: spacing[1], 5: spacing[0], 10: spacing[0], 0: 0.0, 15: 0.0}
        lengths = {**along, 6: 2 * slanted, 9: 2 * slanted}
        return np.array([lengths.get(code, slanted) for code in range(16)])
    codes, edges = _triangles()
    crossed = np.cross(edges[:, 0] * spacing, edges[:, 1] * spacing)
    return np.bincount(codes, weights=np.linalg.norm(crossed, axis=1) / 2, minlength=256)


@cache
def _triangles() -> tuple[Array, Array]:
    """Every triangle of every cell: the code of its corners (N,) and two of its edges (N, 2, 3).

    A cell mostly inside has the surface of its complement, so neither side is preferred.
    """
    codes, edges = [], []
    for code in range(256):
        inside = code if code.bit_count() <= 4 else 255 - code
        for loop in _loops(inside):
            fan = _fan(loop)
            codes += [code] * len(fan)
            edges.append(fan)
    return np.array(codes), np.concatenate(edges)


def _fan(loop: Array) -> Array:
    """A loop of points (N, 3) -> its fan of triangles of largest area, as edges (N - 2, 2, 3)."""
    fans = []
    for start in range(len(loop)):
        edges = np.roll(loop, -start, axis=0)[1:] - loop[start]
        fans.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return max(fans, key=_size)


def _size(fan: Array) -> float:
    """Twice the area, rounded so that equal fans tie."""
    return round(float(np.linalg.norm(np.cross(fan[:, 0], fan[:, 1]), axis=1).sum()), 6)


def _loops(code: int) -> list[Array]:
    """Closed loops of edge midpoints (N, 3) that part the corners inside from those outside.

    On each face a segment cuts off every run of corners inside, seen from outside the cell, so the
    segments of neighbouring faces meet head to tail.
    """
    following: dict[frozenset[int], frozenset[int]] = {}
    for ring in _faces():
        inside = [bool(code >> corner & 1) for corner in ring]
        for start in range(4):
            if inside[start] or not inside[(start + 1) % 4]:
                continue
            end = start + 1
            while inside[(end + 1) % 4]:
                end += 1
            entry = frozenset((ring[start], ring[(start + 1) % 4]))
            following[entry] = frozenset((ring[end % 4], ring[(end + 1) % 4]))
    loops = []
    while following:
        edge = first = next(iter(following))
        loop: list[Array] = []
        while not loop or edge != first:
            loop.append(CORNERS[list(edge)].mean(axis=0))
            edge = following.pop(edge)
        loops.append(np.array(loop))
    return loops


def _faces() -> Iterator[list[int]]:
    """The corners of each face of a cell, counter-clockwise seen from outside."""
    for axis, side in product(range(3), (0, 1)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        ring = []
        for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [side, side, side]
            corner[first], corner[second] = a, b
            ring.append(4 * corner[0] + 2 * corner[1] + corner[2])
        yield ring if side else ring[::-1]
