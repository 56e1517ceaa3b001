"""Grey levels of a region: its intensities in bins, as the IBSI discretises and re-segments.

Levels count from 1; 0 is outside of the region. https://doi.org/10.1148/radiol.2020191145
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from oncoseg.blocks.surface import bounds
from oncoseg.case import Array
from oncoseg.errors import BadData

MOST = 1000  # levels: matrices of textures have the square of them


@dataclass(frozen=True)
class Levels:
    """A region's box with an empty margin of one voxel: each voxel's level, 0 outside (*S).

    `count` is the highest level of the whole region, of which this may be a slice; any may be
    absent.
    """

    padded: Array
    count: int

    @cached_property
    def inside(self) -> Array:
        """Where the region's voxels are in the flat array (N,)."""
        return np.flatnonzero(self.padded)

    @cached_property
    def values(self) -> Array:
        """Their levels (N,)."""
        return self.padded.ravel()[self.inside]

    @cached_property
    def directions(self) -> list[int]:
        """Steps in the flat array to one of every two opposite neighbours: 13, in 2-D 4."""
        ways = list(product((-1, 0, 1), repeat=self.padded.ndim))
        strides = np.array(self.padded.strides) // self.padded.itemsize
        return [int(way @ strides) for way in np.array(ways[len(ways) // 2 + 1 :])]

    def beside(self, step: int) -> Array:
        """The level of every voxel's neighbour (N,), 0 if it is outside of the region."""
        return self.padded.ravel()[self.inside + step]

    def slices(self) -> Iterator[Levels]:
        """Every slice along the last axis that holds a part of the region."""
        for index in np.flatnonzero(self.padded.any(axis=(0, 1))):
            yield Levels(np.ascontiguousarray(self.padded[..., index]), self.count)


def levels(
    image: Array, mask: Array, *, bins: int = 0, width: float = 0.0, low: float | None = None
) -> Levels:
    """Intensities (*S) where `mask` is, in `bins` of one size or in bins `width` wide.

    Fixed bin number: floor(bins (x - min) / (max - min)) + 1, the maximum in the last bin. Fixed
    bin size: floor((x - low) / width) + 1, from the region's minimum if no `low` is given. Raises
    `BadData` for more levels than textures can be made of, and where `low` lies above a voxel.
    """
    box = bounds(mask)
    inside = mask[box]
    values = image[box][inside].astype(np.float64)
    least, most = float(values.min()), float(values.max())
    start = least if low is None else low
    if start > least:
        raise BadData(f"bins start at {start:g}, but the region holds {least:g}")
    if bins:
        span = (most - least) or 1.0
        found = np.minimum(np.floor(bins * ((values - least) / span)) + 1, bins)
    else:
        found = np.floor((values - start) / width) + 1
    if found.max() > MOST:
        raise BadData(f"{found.max():.0f} grey levels are more than {MOST}: ask for wider bins")
    padded = np.zeros([size + 2 for size in inside.shape], np.int32)
    padded[(slice(1, -1),) * inside.ndim][inside] = found
    return Levels(padded, int(found.max()))


def resegmented(
    image: Array, mask: Array, low: float = -np.inf, high: float = np.inf, sigmas: float = 0.0
) -> Array:
    """The part of a mask (*S) with finite intensities from `low` to `high`, both included.

    With `sigmas` also within so many standard deviations of the mean of what is left, which is how
    the standard removes outliers (by 3).
    """
    box = bounds(mask)
    values = image[box].astype(np.float64)
    kept = mask[box] & np.isfinite(values) & (values >= low) & (values <= high)
    if sigmas and kept.any():
        mean, reach = values[kept].mean(), sigmas * values[kept].std()
        kept &= np.abs(values - mean) <= reach
    whole = np.zeros(mask.shape, bool)
    whole[box] = kept
    return whole
