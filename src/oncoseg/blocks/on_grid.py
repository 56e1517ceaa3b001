"""Parts of a grid: a box with what lies around it, and an image in a box, wherever it lies."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.case import Array, Grid, Volume

Box = tuple[slice, ...]


def widened(box: Box, part: Array, reach: float, grid: Grid) -> tuple[Box, Array]:
    """A box and the mask that fills it, with all around within `reach` mm that the grid has."""
    more = np.ceil(reach * np.linalg.norm(np.linalg.inv(grid.affine[:-1, :-1]), axis=1)).astype(int)
    before = [min(side.start, each) for side, each in zip(box, more)]
    after = [min(size - side.stop, each) for side, each, size in zip(box, more, grid.shape)]
    wide = tuple(slice(s.start - b, s.stop + a) for s, b, a in zip(box, before, after))
    return wide, np.pad(part, list(zip(before, after)))


def on_grid(image: Volume, grid: Grid, box: Box) -> Array:
    """An image in a box of a grid, float64; resampled linearly (outside: NaN) if it lies apart."""
    if image.grid.same_as(grid):
        return image.array[box].astype(np.float64)
    across = np.linalg.inv(image.grid.affine) @ grid.affine
    matrix = across[:-1, :-1]
    offset = matrix @ [side.start for side in box] + across[:-1, -1]
    shape = tuple(side.stop - side.start for side in box)
    return ndimage.affine_transform(
        image.array, matrix, offset, shape, np.float64, order=1, cval=np.nan
    )
