"""Marching squares: outlines of a mask as closed polygons and SVG paths."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array

# Midpoints of a cell's four sides, as (row, column) in half pixels from the cell's first corner.
TOP, RIGHT, BOTTOM, LEFT = (0, 1), (1, 2), (2, 1), (1, 0)
# Corners in the mask (1 top left, 2 top right, 4 bottom right, 8 bottom left) -> directed pieces of
# outline with the mask on the left. Diagonal neighbours (5, 10) are joined, as when components are
# counted.
PIECES = {
    1: [(LEFT, TOP)],
    2: [(TOP, RIGHT)],
    3: [(LEFT, RIGHT)],
    4: [(RIGHT, BOTTOM)],
    5: [(RIGHT, TOP), (LEFT, BOTTOM)],
    6: [(TOP, BOTTOM)],
    7: [(LEFT, BOTTOM)],
    8: [(BOTTOM, LEFT)],
    9: [(BOTTOM, TOP)],
    10: [(TOP, LEFT), (BOTTOM, RIGHT)],
    11: [(BOTTOM, RIGHT)],
    12: [(RIGHT, LEFT)],
    13: [(RIGHT, TOP)],
    14: [(TOP, LEFT)],
}
Polygon = list[tuple[int, int]]


def contours(mask: Array) -> list[Polygon]:
    """Mask (rows, columns) -> closed outlines midway between centres in and out of it, and holes.

    Vertices are (x, y) in half pixels, x along columns, 0 at the picture's outer edge; the last
    joins the first.
    """
    after = _pieces(mask)
    polygons = []
    while after:
        start, here = after.popitem()
        polygon = [start]
        while here != start:
            polygon.append(here)
            here = after.pop(here)
        polygons.append(_straightened(polygon))
    return polygons


def svg_path(mask: Array) -> str:
    """The outlines of a mask (rows, columns) as the `d` of an SVG path, in half pixels."""
    paths = []
    for polygon in contours(mask):
        (x, y), pieces = polygon[0], []
        for u, v in polygon[1:]:
            pieces.append(f"{u - x} {v - y}")
            x, y = u, v
        paths.append(f"M{polygon[0][0]} {polygon[0][1]}l{' '.join(pieces)}z")
    return "".join(paths)


def _pieces(mask: Array) -> dict[tuple[int, int], tuple[int, int]]:
    padded = np.pad(mask.astype(np.uint8), 1)
    code = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, 1:] + 8 * padded[1:, :-1]
    after: dict[tuple[int, int], tuple[int, int]] = {}
    for value, pieces in PIECES.items():
        rows, columns = (2 * index - 1 for index in np.nonzero(code == value))
        for start, end in pieces:
            starts = zip((columns + start[1]).tolist(), (rows + start[0]).tolist())
            ends = zip((columns + end[1]).tolist(), (rows + end[0]).tolist())
            after.update(zip(starts, ends))
    return after


def _straightened(polygon: Polygon) -> Polygon:
    """Leave out vertices in the middle of a straight line."""
    kept = []
    for (a, b), (x, y), (u, v) in zip([polygon[-1], *polygon], polygon, [*polygon[1:], polygon[0]]):
        if (x - a) * (v - y) != (y - b) * (u - x):
            kept.append((x, y))
    return kept
