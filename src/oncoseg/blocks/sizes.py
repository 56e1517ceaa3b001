"""How large each region is: its voxels counted, times the size of a voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.blocks.extents import extents
from oncoseg.case import Array, Grid


def sizes(masks: dict[str, Array], grid: Grid) -> dict[str, float]:
    """Boolean masks (*S) by region -> volume in ml; in 2-D area in mm², or in pixels.

    The latter where no size is known.
    """
    voxel = grid.voxel_volume / (1 if grid.dims == 2 else 1000)
    return {name: int(np.count_nonzero(mask)) * voxel for name, mask in masks.items()}


def boundary_ml(mask: Array, grid: Grid) -> float:
    """Half the volume of a mask's (*S) voxels with a face outside it, in ml.

    That is how far a volume can be off whose edge is known to half a voxel.
    """
    whole = np.pad(mask[extents(mask).get(1, (slice(0, 0),) * mask.ndim)], 1)
    edge = int(whole.sum()) - int(ndimage.binary_erosion(whole).sum())
    return edge * grid.voxel_volume / 2000
