"""How far apart two segments lie: the shortest way between surfaces, and between centres."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from oncoseg.blocks.segments import Segment
from oncoseg.case import Array, Grid


def gap(one: Segment, other: Segment, grid: Grid) -> float:
    """Shortest way in mm between the outer faces of their voxels; 0 if they touch or overlap."""
    ways, _ = KDTree(_corners(one, grid)).query(_corners(other, grid))
    return float(ways.min())


def between_centres(one: Segment, other: Segment, grid: Grid) -> float:
    """Distance in mm of their centres of mass."""
    return float(np.linalg.norm(grid.affine[:-1, :-1] @ (_centre(other) - _centre(one))))


def _centre(segment: Segment) -> Array:
    start = np.array([side.start for side in segment.box])
    return np.asarray(np.argwhere(segment.part).mean(axis=0) + start)


def _corners(segment: Segment, grid: Grid) -> Array:
    """Corners in mm (N, dims) of outermost voxels, between two of which the shortest way is."""
    part = segment.part
    outer = np.argwhere(part & ~ndimage.binary_erosion(part))
    outer += [side.start for side in segment.box]
    offsets = np.array(list(product((-0.5, 0.5), repeat=part.ndim)))
    points = np.unique((outer[:, None] + offsets).reshape(-1, part.ndim), axis=0)
    return np.asarray(points @ grid.affine[:-1, :-1].T)
