"""Outlines of a mask along the edges of its pixels, holes joined to the outside by keyholes.

Edges lie half a pixel from every centre and the channel of a keyhole has no width, so any rule of
filling (even-odd, non-zero) gives back exactly the mask, and the area of the polygons is exactly
that of the pixels.
"""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array

Point = tuple[int, int]
Ring = list[Point]


def outlines(mask: Array) -> list[Ring]:
    """Mask (rows, columns) -> closed polygons with holes in keyhole technique.

    Points are (x, y), pixel corners: the pixel in row r and column c reaches from (c, r) to
    (c + 1, r + 1). Pixels that touch at a corner alone belong to two polygons. The last point joins
    the first.
    """
    rings = _rings(mask)
    outer = [ring for ring in rings if _area(ring) > 0]
    holes = sorted((ring for ring in rings if _area(ring) < 0), key=min)
    for hole in holes:
        _join(outer, hole)
    return [_straightened(ring) for ring in outer]


def _rings(mask: Array) -> list[Ring]:
    """Every boundary, a step a pixel, with the mask on the right hand (rows downwards)."""
    after = _edges(mask)
    rings = []
    while after:
        start, ends = next(iter(after.items()))
        ring, here, heading = [start], ends[0], (ends[0][0] - start[0], ends[0][1] - start[1])
        _take(after, start, here)
        while here != start or _right(after, here, heading):
            ring.append(here)
            nxt = _right(after, here, heading) or after[here][0]
            _take(after, here, nxt)
            heading, here = (nxt[0] - here[0], nxt[1] - here[1]), nxt
        rings.append(ring)
    return rings


def _edges(mask: Array) -> dict[Point, list[Point]]:
    """Corner -> the corners to which an edge of the mask leads from it."""
    padded = np.pad(mask.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    after: dict[Point, list[Point]] = {}
    for neighbour, (x, y), (u, v) in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for row, column in zip(rows.tolist(), columns.tolist()):
            after.setdefault((column + x, row + y), []).append((column + u, row + v))
    return after


def _right(after: dict[Point, list[Point]], here: Point, heading: Point) -> Point | None:
    """Where a turn to the right leads, which stays with the same pixel; None if nowhere."""
    there = (here[0] - heading[1], here[1] + heading[0])
    return there if there in after.get(here, ()) else None


def _take(after: dict[Point, list[Point]], start: Point, end: Point) -> None:
    after[start].remove(end)
    if not after[start]:
        del after[start]


def _area(ring: Ring) -> int:
    """Twice the area, above 0 for outer boundaries and below for holes."""
    points = np.array(ring, dtype=np.int64)
    after = np.roll(points, -1, axis=0)
    return int((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum())


def _join(outer: list[Ring], hole: Ring) -> None:
    """Cut a channel from the hole's first leftmost corner straight left to the next boundary.

    Holes come from left to right, so that boundary is an outer one or a hole already joined.
    """
    at = hole.index(min(hole))
    x, y = hole[at]
    ring, meets = max(
        ((ring, point) for ring in outer for point in ring if point[1] == y and point[0] < x),
        key=lambda found: found[1][0],
    )
    where = ring.index(meets)
    ring[where : where + 1] = [meets, *hole[at:], *hole[:at], hole[at], meets]


def _straightened(ring: Ring) -> Ring:
    """Leave out corners in the middle of a straight line, never where it turns back."""
    kept = []
    for (a, b), (x, y), (u, v) in zip([ring[-1], *ring], ring, [*ring[1:], ring[0]]):
        along = (x - a) * (u - x) + (y - b) * (v - y)
        if (x - a) * (v - y) != (y - b) * (u - x) or along < 0:
            kept.append((x, y))
    return kept
