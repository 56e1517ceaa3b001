"""How large each region is: its voxels counted, times the size of a voxel."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array, Grid


def sizes(masks: dict[str, Array], grid: Grid) -> dict[str, float]:
    """Boolean masks (*S) by region -> volume in ml; in 2-D area in mm², or in pixels.

    The latter where no size is known.
    """
    voxel = grid.voxel_volume / (1 if grid.dims == 2 else 1000)
    return {name: int(np.count_nonzero(mask)) * voxel for name, mask in masks.items()}
