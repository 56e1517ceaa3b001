"""What lies where a mask lies in a brain that was taken to MNI space."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from oncoseg.blocks.atlas import Structures, at, template
from oncoseg.case import Array, Grid, Volume

NEAR = 10.0  # mm from the plane of symmetry within which a displaced midline may lie
LEAST_ML = 0.1  # what has to lie beyond that on both sides
ONE_SIDED = 90.0  # %, from which a hemisphere alone is named
LEAST_SHARE = 1.0  # %, from which a structure is named


class Surroundings:
    """A scan, its brain (X, Y, Z), and the matrix (4, 4) from its RAS mm to MNI mm.

    Distances are in mm of the patient: to the brain's surface, and to the template's lateral
    ventricles, taken to the patient.
    """

    def __init__(self, scan: Volume, brain: Array, matrix: Array) -> None:
        self.matrix, self.brain, self.grid = matrix, brain, scan.grid
        self.brain_mm3 = int(brain.sum()) * scan.grid.voxel_volume
        self.surface = KDTree(_points(_rim(brain), scan.grid))
        pools, grid = template().ventricles, template().scan.grid
        self.ventricles = KDTree(_moved(_points(_rim(pools), grid), np.linalg.inv(matrix)))

    def rows(self, mask: Array, grid: Grid, known: Structures | None) -> list[dict[str, Any]]:
        """`name`, `value` and `unit` of a mask (X, Y, Z) that is not empty."""
        points = _points(np.argwhere(mask), grid)
        there = _moved(points, self.matrix)
        centre = points.mean(axis=0, keepdims=True)
        told = _side(there[:, 0], grid.voxel_volume / 1000)
        told += [
            (f"centre, MNI {axis}", float(value), "mm")
            for axis, value in zip("xyz", _moved(centre, self.matrix)[0])
        ]
        told += [
            ("share of the brain", 100 * len(points) * grid.voxel_volume / self.brain_mm3, "%"),
            ("distance to the surface", self._depth(points), "mm"),
            ("depth of its centre", self._depth(centre), "mm"),
            ("distance to the ventricles", self._to_ventricles(points, there), "mm"),
        ]
        told += [(name, value, "%") for name, value in _tissue(there).items()]
        told += [(name, value, "%") for name, value in _shares(there, known).items()]
        return [{"name": name, "value": value, "unit": unit} for name, value, unit in told]

    def _depth(self, points: Array) -> float:
        """The shortest way from points (N, 3) to the surface; 0 from outside of it."""
        inside = at(self.brain, self.grid, points)
        return _least(self.surface, points) if inside.all() else 0.0

    def _to_ventricles(self, points: Array, there: Array) -> float:
        if at(template().ventricles, template().scan.grid, there).any():
            return 0.0
        return _least(self.ventricles, points)


def _side(x: Array, voxel_ml: float) -> list[tuple[str, Any, str]]:
    """Shares of the volume left and right of the midline, from MNI x (N,), and what they mean."""
    left = 100 * float((x < 0).mean() + (x == 0).mean() / 2)
    beyond = min(int((x < -NEAR).sum()), int((x > NEAR).sum())) * voxel_ml
    over = min(int((x < 0).sum()), int((x > 0).sum())) * voxel_ml
    crossing = "yes" if beyond >= LEAST_ML else "no" if over < LEAST_ML else "not certain"
    side = "left" if left >= ONE_SIDED else "right" if left <= 100 - ONE_SIDED else "both"
    return [
        ("hemisphere", side, ""),
        ("left", left, "%"),
        ("right", 100 - left, "%"),
        ("midline crossed", crossing, ""),
    ]


def _tissue(there: Array) -> dict[str, float]:
    """Mean share of each tissue of the template at points (N, 3), and of what is outside it."""
    found = template()
    shares = {
        f"{name} of the template": 100 * float(at(share, found.scan.grid, there).mean())
        for name, share in found.tissue.items()
    }
    outside = 100 * float((at(found.scan.array, found.scan.grid, there) == 0).mean())
    return shares | {"outside the template": outside}


def _shares(there: Array, known: Structures | None) -> dict[str, float]:
    """`in NAME` -> share of points (N, 3) in this structure, the largest first, then the rest."""
    if known is None:
        return {}
    values = at(known.labels.array, known.labels.grid, there)
    shares: dict[str, float] = {}
    for value, count in zip(*np.unique(values, return_counts=True)):
        name = f"in {known.names[int(value)]}" if value else "in no structure"
        shares[name] = shares.get(name, 0.0) + 100 * int(count) / len(values)
    large = {name: share for name, share in shares.items() if share >= LEAST_SHARE}
    return dict(sorted(large.items(), key=lambda item: (-item[1], item[0])))


def _least(tree: KDTree, points: Array) -> float:
    """The shortest way of any of the points (N, 3); some of them first bound those of all."""
    bound = float(tree.query(points[::100])[0].min())
    return min(bound, float(tree.query(points, distance_upper_bound=bound)[0].min()))


def _points(index: Array, grid: Grid) -> Array:
    """Voxels (N, 3) -> their centres in RAS mm."""
    return _moved(index, grid.affine)


def _moved(points: Array, matrix: Array) -> Array:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def _rim(mask: Array) -> Array:
    """The outermost voxels (N, 3) of a mask, also where the grid cuts it."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))
