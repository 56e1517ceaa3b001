"""Closed polygons -> masks at voxel centres; inner ones are holes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.case import Array

APART, WITHIN = 0.05, 0.95  # shares of an outline's voxels that another one holds


def filled(points: Array, shape: tuple[int, int]) -> Array:
    """Vertices (P, 2) as (column, row) in voxels -> mask (rows, columns), by the even-odd rule.

    Voxel centres lie at whole numbers; one on a left or upper edge is inside, on a right or lower
    one outside, so that polygons that share an edge share no voxel. A keyhole's two sides cancel.
    """
    rows, columns = shape
    start, stop = points, np.roll(points, -1, axis=0)
    low = np.minimum(start[:, 1], stop[:, 1])
    high = np.maximum(start[:, 1], stop[:, 1])
    first = np.clip(np.ceil(low), 0, rows).astype(int)
    count = np.maximum(np.clip(np.ceil(high), 0, rows).astype(int) - first, 0)
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (row - start[edge, 1]) / (stop[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + share * (stop[edge, 0] - start[edge, 0])
    column = np.clip(np.ceil(crossing), 0, columns).astype(int)
    flips = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    return np.cumsum(flips.reshape(rows, columns + 1), axis=1)[:, :-1] % 2 == 1


def combined(outlines: Sequence[Array], *, alternate: bool = False) -> Array:
    """Masks (rows, columns) of one structure in one plane, outer ones first -> their mask.

    One within another is a hole in it, or an island in its hole; the same outline twice is one.
    `alternate` (CLOSEDPLANAR_XOR) takes each voxel by the parity of the outlines around it. Raises
    `ValueError` where outlines cross, which says neither hole nor sum.
    """
    ranked = sorted(outlines, key=lambda mask: -int(mask.sum()))
    result = np.zeros_like(ranked[0])
    for index, mask in enumerate(ranked):
        size = int(mask.sum())
        shares = [int((mask & other).sum()) / max(size, 1) for other in ranked[:index]]
        if alternate:
            result ^= mask
        elif any(share == 1 and int(other.sum()) == size
                 for share, other in zip(shares, ranked)):  # fmt: skip
            continue
        elif all(share <= APART for share in shares):
            result |= mask
        elif all(share <= APART or share >= WITHIN for share in shares):
            result ^= mask
        else:
            raise ValueError("outlines cross")
    return result
