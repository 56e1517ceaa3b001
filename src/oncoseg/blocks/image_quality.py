"""Quality of an image: where it ends, its noise, its foreground, and what its unit allows."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np

from oncoseg.blocks.planes import directions, slice_axis
from oncoseg.case import Array, Grid, Volume

AIR_HU = -200.0  # a CT whose lowest value lies above shows no air, so it is hardly in HU
BRIGHTEST_SUV = 1000.0  # more than a bladder full of tracer; Bq/ml are thousands
SLICES = 32
SAMPLE = 1_000_000
DEVIATION = 0.6745  # median of the absolute value of a normal number
ENDS = (("left", "right"), ("back", "front"), ("foot", "head"))


def odd_unit(name: str, low: float, high: float) -> str:
    """What is wrong with the range of a modality whose unit means something, "" if nothing is."""
    if name == "ct" and low > AIR_HU:
        return f"is CT with values from {low:g} to {high:g}, which are hardly HU"
    if name == "pet" and (low < -1 or high > BRIGHTEST_SUV):
        return f"is PET with values from {low:g} to {high:g}, which are hardly SUV"
    return ""


def ends_touched(mask: Array, grid: Grid) -> list[str]:
    """Ends of the image that a mask (*S) reaches: of the patient; in 2-D of the array."""
    found = []
    for axis in range(grid.dims):
        faces = [(False, mask.take(0, axis)), (True, mask.take(-1, axis))]
        found += [_end(grid, axis, last) for last, face in faces if face.any()]
    return sorted(found)


def _end(grid: Grid, axis: int, last: bool) -> str:
    if grid.dims == 2:
        return f"{'end' if last else 'start'} of axis {axis + 1}"
    way = directions(grid)[axis]
    return ENDS[way][int((grid.affine[way, axis] > 0) == last)]


def within(mask: Array, grid: Grid, image: Volume) -> Array:
    """Values of an image at the voxels of a mask (*S) on `grid`, of those that it covers."""
    if image.grid.same_as(grid):
        return np.asarray(image.array[mask])
    inside = np.linalg.inv(image.grid.affine) @ grid.affine
    places = np.argwhere(mask).astype(np.float64) @ inside[:-1, :-1].T + inside[:-1, -1]
    nearest = np.floor(places + (0.5 + 1e-3)).astype(int)
    covered = ((nearest >= 0) & (nearest < image.array.shape)).all(axis=1)
    return np.asarray(image.array[tuple(nearest[covered].T)])


def times_coarser(image: Grid, spacing: tuple[float, ...], *, ordered: bool) -> float:
    """How many times as long as `spacing` the voxels of an image are, on their worst axis.

    `spacing` is of axes to the right, front and head; or, not `ordered`, of unknown ones, and the
    order that fits best counts.
    """
    ways = directions(image) if image.dims == 3 else (0, 1)
    own = [length for _, length in sorted(zip(ways, image.spacing))]
    orders = [spacing] if ordered else list(permutations(spacing))
    return min(max(np.divide(own, order)) for order in orders)


def foreground(array: Array) -> Array:
    """Voxels (*S) brighter than the threshold between two classes (Otsu 1979); all if constant."""
    step = max(1, array.size // SAMPLE)
    sample = array.ravel("K")[::step].astype(np.float64)
    counts, edges = np.histogram(sample, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    mass = np.cumsum(counts * centres)
    above, rest = below[-1] - below, mass[-1] - mass
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - rest / above) ** 2
    best = int(np.nan_to_num(between[:-1]).argmax())
    mask: Array = array > edges[best + 1]
    return mask if mask.any() else np.ones_like(mask)


def noise(image: Volume, inside: Array) -> float:
    """Standard deviation of the noise of neighbouring voxels that are all `inside` (*S); NaN: none.

    From the median of diagonal Haar coefficients in the acquired plane (Donoho and Johnstone 1994),
    which structures hardly move; images that were smoothed or interpolated seem to have less.
    """
    array = image.array
    if image.grid.dims == 3:
        axis = slice_axis(image.grid)[0]
        some = slice(None, None, max(1, array.shape[axis] // SLICES))
        array, inside = (np.moveaxis(each, axis, 0)[some] for each in (array, inside))
    corners = [
        (..., a, b) for a in (slice(-1), slice(1, None)) for b in (slice(-1), slice(1, None))
    ]
    values = [array[corner].astype(np.float32) for corner in corners]
    whole = np.logical_and.reduce([inside[corner] for corner in corners])
    if not whole.any():
        return math.nan
    coefficients = (values[0] - values[1] - values[2] + values[3])[whole] / 2
    return float(np.median(np.abs(coefficients))) / DEVIATION


def right_of_middle(inside: Array, grid: Grid) -> float:
    """How far to the right of the middle of an image (X, Y, Z) half of a mask lies, in mm."""
    axis = directions(grid).index(0)
    along = inside.sum(axis=tuple(other for other in range(3) if other != axis))
    reached = np.concatenate([[0], np.cumsum(along)]) / along.sum()
    half = float(np.interp(0.5, reached, np.arange(len(reached)) - 0.5))
    return (half - (len(along) - 1) / 2) * float(grid.affine[0, axis])
