"""Skeletons of masks: curves in their middle, of the same components, holes and cavities.

Voxels are taken from one side after the other, as Lee, Kashyap and Chu do (1994), if they are
simple and no end of a curve. Those of one subfield, every second along each axis, are no neighbours
of one another, so all of a subfield go at once and the topology is kept exactly: a voxel that was
simple when its side was begun goes if it still is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oncoseg.blocks.surface import bounds
from oncoseg.case import Array

# A neighbourhood of 3x3x3 is a number: bit 9 z + 3 y + x is its voxel (z, y, x), bit 13 the centre.
BITS = np.arange(27)
PLACES = np.stack([BITS // 9, BITS // 3 % 3, BITS % 3], axis=1)  # of each bit, (27, 3)


def _number(wanted: Array) -> np.int32:
    return np.int32(np.sum(np.int64(1) << BITS[wanted]))


APART = np.abs(PLACES - 1).sum(axis=1)  # 1 beside a face, 2 an edge, 3 a corner of the centre
FACES, NEAR = _number(APART == 1), _number((APART == 1) | (APART == 2))
STEPS = (9, 3, 1)  # from a bit to the next one along z, y and x
NOT_LAST = [_number(PLACES[:, axis] < 2) for axis in range(3)]
NOT_FIRST = [_number(PLACES[:, axis] > 0) for axis in range(3)]


def skeleton(mask: Array) -> Array:
    """Boolean mask (*S) -> its curve skeleton (*S): 8-connected in 2-D, 26-connected in 3-D.

    It depends on the mask alone and not on where in the image that lies. No voxel but the end of a
    curve could be left out without a change of the topology.
    """
    found = np.zeros(mask.shape, dtype=bool)
    box = bounds(mask)
    cut = mask[box]
    if not cut.size:
        return found
    padded = np.pad(cut.reshape((1,) * (3 - cut.ndim) + cut.shape), 1)
    _thin(padded, cut.ndim)
    found[box] = padded[1:-1, 1:-1, 1:-1].reshape(cut.shape)
    return found


def _thin(padded: Array, dims: int) -> None:
    """Take voxels of a padded mask (z, y, x), in place, until none can go."""
    voxels = padded.reshape(-1)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    around = (PLACES - 1) @ strides
    left = np.flatnonzero(voxels)
    z, y, x = (np.arange(size, dtype=np.uint8) & 1 for size in padded.shape)
    field = (4 * z[:, None, None] + 2 * y[:, None] + x).ravel()
    sides = [sign * stride for stride in strides[3 - dims :] for sign in (-1, 1)]
    before = -1
    while len(left) != before:
        before = len(left)
        for side in sides:
            border = left[~voxels[left + side]]
            border = border[_removable(voxels, border, around, ends=False)]
            for one in range(8):
                part = border[field[border] == one]
                voxels[part[_removable(voxels, part, around, ends=True)]] = False
            left = left[voxels[left]]


def _removable(voxels: Array, places: Array, around: Array, *, ends: bool) -> Array:
    """Which of these voxels are simple; with `ends` too, those with one neighbour alone."""
    code = np.zeros(len(places), dtype=np.int32)
    for bit, step in enumerate(around.tolist()):
        if step:
            code |= voxels[places + step].astype(np.int32) << np.int32(bit)
    found = simple(code)
    return found if ends else found & ((code & (code - 1)) != 0)


def simple(code: Array) -> Array:
    """Whether taking the centre away keeps the topology, of neighbourhoods (N,) as int32.

    So it does if the voxels around it are one 26-connected component, and those outside the mask
    that share a face with it are in one 6-connected component of its 18 nearest (Malandain and
    Bertrand 1992).
    """
    outside = ~code & NEAR
    beside = outside & FACES
    whole = _flooded(code, code, _box) == code
    one = (_flooded(beside, outside, _cross) & beside) == beside
    return whole & one & (code != 0) & (beside != 0)


def _flooded(start: Array, inside: Array, grow: Callable[[Array], Array]) -> Array:
    """What can be reached from the lowest bit of the start."""
    seed = start & np.negative(start)
    while True:
        wider = grow(seed) & inside
        if np.array_equal(wider, seed):
            return seed
        seed = wider


def _along(code: Array, axis: int) -> Array:
    """The neighbours along one axis of all voxels that are there."""
    step = np.int32(STEPS[axis])
    return ((code & NOT_LAST[axis]) << step) | ((code & NOT_FIRST[axis]) >> step)


def _box(code: Array) -> Array:
    for axis in range(3):
        code = code | _along(code, axis)
    return code


def _cross(code: Array) -> Array:
    return code | _along(code, 0) | _along(code, 1) | _along(code, 2)
