"""How large each region is: its voxels counted, times the size of a voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.blocks.counts import counts
from oncoseg.blocks.extents import extents
from oncoseg.case import Array, Grid, Task


def sizes(masks: dict[str, Array], grid: Grid) -> dict[str, float]:
    """Boolean masks (*S) by region -> volume in ml; in 2-D area in mm², or in pixels.

    The latter where no size is known.
    """
    return {name: int(np.count_nonzero(mask)) * _voxel(grid) for name, mask in masks.items()}


def volumes(task: Task, label: Array, grid: Grid) -> dict[str, float]:
    """Label map (*S) -> size of each region, as `sizes` gives it."""
    table = counts(label)
    values = {name: [task.labels[one] for one in members] for name, members in task.regions.items()}
    return {name: int(table[some].sum()) * _voxel(grid) for name, some in values.items()}


def _voxel(grid: Grid) -> float:
    return grid.voxel_volume / (1 if grid.dims == 2 else 1000)


def boundary_ml(mask: Array, grid: Grid) -> float:
    """Half the volume of a mask's (*S) voxels with a face outside it, in ml.

    That is how far a volume can be off whose edge is known to half a voxel.
    """
    whole = np.pad(mask[extents(mask).get(1, (slice(0, 0),) * mask.ndim)], 1)
    edge = int(whole.sum()) - int(ndimage.binary_erosion(whole).sum())
    return edge * grid.voxel_volume / 2000
