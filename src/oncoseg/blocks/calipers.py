"""Diameters of voxel shapes, exact between the outer corners of their voxels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from oncoseg.case import Array, Grid

ROWS = 1000
WITHIN = np.pad(np.ones((3, 3, 1)), [(0, 0), (0, 0), (1, 1)])


def corners(mask: Array) -> Array:
    """Mask (*S) -> corners of its voxels (N, dims) in index coordinates, centres being whole.

    Of each line along the last axis only the two outermost corners are kept: no other can be a
    vertex of the hull.
    """
    touched = np.zeros([size + 1 for size in mask.shape], dtype=bool)
    for offset in product((0, 1), repeat=mask.ndim):
        touched[tuple(slice(o, o + n) for o, n in zip(offset, mask.shape))] |= mask
    lines = np.argwhere(touched.any(axis=-1))
    kept = touched[tuple(lines.T)]
    first = kept.argmax(axis=1)
    last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
    points = [np.column_stack([lines, ends]) for ends in (first, last)]
    return np.concatenate(points).astype(np.float64) - 0.5


def longest(points: Array) -> tuple[float, Array]:
    """Points (N, dims) -> the largest distance between two of them, and those two (2, dims)."""
    hull = points[ConvexHull(points).vertices]
    best, pair = -1.0, (0, 0)
    for start in range(0, len(hull), ROWS):
        distances = cdist(hull[start : start + ROWS], hull)
        row, column = np.unravel_index(int(distances.argmax()), distances.shape)
        if distances[row, column] > best:
            best, pair = float(distances[row, column]), (start + int(row), int(column))
    return best, hull[list(pair)]


def perpendicular(points: Array, ends: Array) -> tuple[float, Array]:
    """The longest chord of the hull of points (N, 2) at right angles to their diameter `ends`.

    The chord's length is piecewise linear along the diameter with its breaks at vertices, so the
    longest is at one.
    """
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    frame = np.array([along, [-along[1], along[0]]])
    hull = points[ConvexHull(points).vertices] @ frame.T  # counter-clockwise
    hull = np.roll(hull, -int(hull[:, 0].argmin()), axis=0)
    far = int(hull[:, 0].argmax())
    below, above = hull[: far + 1], np.vstack([hull[far:], hull[:1]])[::-1]
    where = hull[:, 0]
    low = np.interp(where, below[:, 0], below[:, 1])
    high = np.interp(where, above[:, 0], above[:, 1])
    best = int((high - low).argmax())
    chord = np.array([[where[best], low[best]], [where[best], high[best]]])
    return float(high[best] - low[best]), chord @ frame


def in_slices(mask: Array, grid: Grid, axis: int) -> dict[str, Any]:
    """Longest diameter (`value`) and its perpendicular (`across`) in any one slice of a mask (*S).

    Slices lie across `axis`; a piece is connected by edges or corners within its slice. Where there
    is one, also its `axis`, `slice`, `ends` and `perpendicular_ends` (in-slice index coordinates).
    """
    if grid.dims == 2:
        sliced, columns = mask[..., None], grid.affine[:2, :2]
    else:
        sliced = np.moveaxis(mask, axis, -1)
        columns = np.delete(grid.affine[:3, :3], axis, axis=1)
    best: dict[str, Any] = {"value": 0.0, "across": 0.0}
    frame = np.linalg.qr(columns)[1]  # in-slice index -> orthonormal axes, also for sheared grids
    back = np.linalg.inv(frame).T
    for piece, start in _pieces(sliced, frame, WITHIN, best):
        points = (corners(piece[..., 0]) + start[:2]) @ frame.T
        value, ends = longest(points)
        if value > best["value"]:
            across, chord = perpendicular(points, ends)
            best |= {"value": value, "across": across, "axis": axis, "slice": int(start[2])}
            best |= {"ends": (ends @ back).tolist(), "perpendicular_ends": (chord @ back).tolist()}
    return best


def in_space(mask: Array, grid: Grid) -> float:
    """Largest distance between corners of one piece (26 neighbours) of a mask (X, Y, Z)."""
    best, frame = {"value": 0.0}, grid.affine[:3, :3]
    for piece, _ in _pieces(mask, frame, np.ones((3, 3, 3)), best):
        best["value"] = max(best["value"], longest(corners(piece) @ frame.T)[0])
    return best["value"]


def _pieces(
    mask: Array, frame: Array, structure: Array, best: dict[str, Any]
) -> Iterator[tuple[Array, Array]]:
    """Connected pieces and where their boxes start, largest first, while they may beat `best`."""
    whole = ndimage.find_objects(mask.astype(np.uint8))
    if not whole:
        return
    pieces, _ = ndimage.label(mask[whole[0]], structure=structure)
    boxes = ndimage.find_objects(pieces)
    sides = np.array([[side.stop - side.start for side in box] for box in boxes]).reshape(-1, 3)
    # No line in a box is longer than the norm of what its edges reach along each coordinate.
    reach = np.linalg.norm(sides[:, : frame.shape[1]] @ np.abs(frame).T, axis=1)
    for number in np.argsort(-reach):
        if reach[number] <= best["value"]:
            return
        start = np.array([part.start + all_.start for part, all_ in zip(boxes[number], whole[0])])
        yield pieces[boxes[number]] == number + 1, start
