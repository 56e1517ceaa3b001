"""What lies around a mask: shells of so many millimetres, and the outline of the body."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from oncoseg.blocks.extents import body
from oncoseg.blocks.image_quality import foreground
from oncoseg.blocks.on_grid import Box, on_grid
from oncoseg.blocks.planes import directions, unit
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Grid, Volume

SLACK_MM = 1e-6  # rounding in a spacing must not decide what lies exactly at an edge
AIR_HU, BODY_HU = -500.0, -300.0
DARK, LARGE = 0.25, 0.15


def rings(part: Array, grid: Grid, edges: Sequence[float]) -> list[Array]:
    """Masks (*S) of the shells around a mask, from each edge (mm) to the next.

    A voxel belongs where the distance from its centre to the nearest one of the mask is above the
    first edge and not above the second: exact on axes at right angles, whatever the spacing.
    """
    away = ndimage.distance_transform_edt(~part, sampling=grid.spacing)
    return [(away > low + SLACK_MM) & (away <= high + SLACK_MM) for low, high in pairwise(edges)]


def clipped(
    part: Array, free: Array, grid: Grid, edges: Sequence[float], *, filled: bool
) -> tuple[dict[str, Array], float]:
    """Rings around a mask where it is `free`, by their name, and the share of them that is not.

    `filled` makes of each ring all from within the mask to its outer edge; empty ones are left out.
    """
    whole = rings(part, grid, edges)
    kept = [ring & free for ring in whole]
    sizes = [sum(int(np.count_nonzero(ring)) for ring in each) for each in (kept, whole)]
    if filled:
        kept = [part | np.any(kept[: last + 1], axis=0) for last in range(len(kept))]
    named = {
        f"{0 if filled else low:g}-{high:g} {unit(grid)} ": ring
        for ring, low, high in zip(kept, edges, edges[1:])
        if ring.any()
    }
    return named, 1 - sizes[0] / max(1, sizes[1])


def bodies(images: Iterable[Volume], grid: Grid, tumour: Array) -> list[Volume]:
    """The `outline` in each image, on its own grid, as 0 and 1.

    Those that show no air, or have most of a tumour (*S) in it, are left out.
    """
    box = bounds(tumour)
    found = [replace(one, array=outline(one.array, one.grid).view(np.uint8)) for one in images]
    return [
        one
        for one in found
        if not one.array.all() and np.mean(on_grid(one, grid, box)[tumour[box]] > 0.5) > 0.5
    ]


def inside(outlines: Sequence[Volume], grid: Grid, box: Box) -> Array:
    """Where in a box of a grid any outline has the body; everywhere if there is none."""
    shape = tuple(side.stop - side.start for side in box)
    found = np.full(shape, not outlines)
    for one in outlines:
        found |= on_grid(one, grid, box) > 0.5
    return found


def outline(image: Array, grid: Grid) -> Array:
    """The body in an image (*S), with all that it encloses in a slice, such as lungs.

    It is what is not constant air; in images with values below -500, as in CT, what is above -300.
    Where air is not constant, Otsu's threshold tells it, if what is below is dark (on average a
    quarter of the rest at most) and what is above is no spot (15 % of the image at least); else
    all is body.
    """
    known = image.astype(np.float32)
    finite = np.isfinite(known)
    if not finite.any():
        return np.ones_like(finite)
    least = known[finite].min()
    known[~finite] = least
    bright = known > BODY_HU if least < AIR_HU else body(known)
    if bright.all():
        bright = foreground(known)
        dark = 0 <= known[~bright].mean() <= DARK * known[bright].mean() if not bright.all() else 0
        if not dark or bright.mean() < LARGE:
            return np.ones_like(bright)
    flat = np.ones((3,) * grid.dims, bool)
    if grid.dims == 3:  # from head to foot nothing connects, as airways lead into the lungs
        axis = directions(grid).index(2)
        flat = np.moveaxis(flat, axis, 0)
        flat[[0, 2]] = False
        flat = np.moveaxis(flat, 0, axis)
    air, count = ndimage.label(~bright, flat)
    sides = [other for other in range(grid.dims) if grid.dims == 2 or other != axis]
    ends = [np.take(air, [0, -1], side).ravel() for side in sides]
    outside = np.zeros(count + 1, bool)
    outside[np.concatenate(ends)] = True
    outside[0] = False  # the body itself, where it reaches an end
    return np.asarray(~outside[air])
