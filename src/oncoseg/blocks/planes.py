"""How a grid lies in the patient: the axis its slices were acquired along, and how to turn it."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from oncoseg.case import Array, Grid

PLANES = ("sagittal", "coronal", "axial")
THICK = 1.5


def unit(grid: Grid) -> str:
    """`mm`, or `px` for 2-D images whose file states no pixel size (their spacing is 1)."""
    return "px" if grid.dims == 2 and np.allclose(grid.spacing, 1) else "mm"


def directions(grid: Grid) -> tuple[int, ...]:
    """The patient axis closest to each array axis: 0 right-left, 1 front-back, 2 head-foot."""
    return tuple(int(axis) for axis in io_orientation(grid.affine)[:, 0])


def slice_axis(grid: Grid) -> tuple[int, str]:
    """The array axis along which slices were acquired, and the name of their plane.

    It is the axis along which voxels are more than 1.5 times as long as along the next (any other
    cut would be a coarse reformat); otherwise the axis closest to head-foot.
    """
    order = np.argsort(grid.spacing)
    if grid.spacing[order[-1]] > THICK * grid.spacing[order[-2]]:
        axis = int(order[-1])
    else:
        axis = directions(grid).index(2)
    return axis, PLANES[directions(grid)[axis]]


def upright(array: Array, grid: Grid) -> tuple[Array, Grid]:
    """Permute and flip, never resample, to axes that run right, front, head; 2-D stays as it is."""
    if grid.dims == 2:
        return array, grid
    turn = io_orientation(grid.affine)
    turned = apply_orientation(array, turn)
    return turned, Grid(turned.shape[:3], grid.affine @ inv_ornt_aff(turn, grid.shape))


def tilt(grid: Grid) -> float:
    """Largest angle in degrees between a grid axis and the patient axis it is closest to."""
    matrix = grid.affine[:-1, :-1] / np.linalg.norm(grid.affine[:-1, :-1], axis=0)
    cosines = [abs(matrix[where, axis]) for axis, where in enumerate(directions(grid))]
    return float(np.degrees(np.arccos(np.clip(min(cosines), 0, 1))))
