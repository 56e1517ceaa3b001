"""Marching cubes on masks: the surface, and what it encloses, cell by cell from tables.

A cell lies between 2x2x2 voxel centres (in 2-D 2x2). The surface passes half-way between a voxel
inside and one outside, so all about a cell follows from its code, which corners are inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

from oncoseg.case import Array

CORNERS = np.array(list(product((0, 1), repeat=3)))  # bit i of a cell's code is its corner i


def cell_codes(mask: Array) -> Array:
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
    codes, triangles = _triangles()
    crossed = _normals(triangles * np.array(spacing))
    return np.bincount(codes, weights=np.linalg.norm(crossed, axis=1) / 2, minlength=256)


@cache
def fractions() -> Array:
    """Share of a cell that its surface encloses (256,), by the code of its corners.

    By the divergence theorem: the flux of (x, 0, 0) out of what is enclosed, through the triangles
    and through the cell's wall at x = 1.
    """
    codes, triangles = _triangles()
    flux = triangles[..., 0].mean(axis=1) * _normals(triangles)[:, 0] / 2
    enclosed = np.bincount(codes, weights=flux, minlength=256)
    walls = {0: 0.0, 1: 1 / 8, 2: 1 / 2, 3: 7 / 8, 4: 1.0}
    for code in range(256):
        if code.bit_count() <= 4:
            wall = code >> 4
            diagonal = wall in (0b0110, 0b1001)  # two corners are cut off, not one edge
            enclosed[code] += 1 / 4 if diagonal else walls[wall.bit_count()]
    return np.array(
        [one if c.bit_count() <= 4 else 1 - enclosed[255 - c] for c, one in enumerate(enclosed)]
    )


@cache
def _triangles() -> tuple[Array, Array]:
    """Every triangle of every cell: the code of its corners (N,) and its vertices (N, 3, 3).

    A cell mostly inside has the surface of its complement, so neither side is preferred.
    """
    codes, triangles = [], []
    for code in range(256):
        inside = code if code.bit_count() <= 4 else 255 - code
        for loop in _loops(inside):
            fan = _fan(loop)
            codes += [code] * len(fan)
            triangles.append(fan)
    return np.array(codes), np.concatenate(triangles)


def _normals(triangles: Array) -> Array:
    """Triangles (N, 3, 3) -> normals as long as twice their areas (N, 3)."""
    edges = triangles[:, 1:] - triangles[:, :1]
    return np.cross(edges[:, 0], edges[:, 1])


def _fan(loop: Array) -> Array:
    """A loop of points (N, 3) -> the fan of triangles of largest area over it (N - 2, 3, 3)."""
    fans = []
    for start in range(len(loop)):
        turned = np.roll(loop, -start, axis=0)
        first = np.broadcast_to(turned[0], turned[2:].shape)
        fans.append(np.stack([first, turned[1:-1], turned[2:]], axis=1))
    return max(fans, key=_size)


def _size(fan: Array) -> float:
    """Twice the area, rounded so that equal fans tie."""
    return round(float(np.linalg.norm(_normals(fan), axis=1).sum()), 6)


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
