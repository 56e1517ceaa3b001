"""Where the values of a label map lie, or the body in a scan."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.case import Array

Extents = dict[int, tuple[slice, ...]]


def extents(label: Array) -> Extents:
    """Value -> the smallest box that holds it, for every value but 0 in a label map (*S)."""
    if label.dtype == np.bool_:
        label = label.view(np.uint8)
    if not label.size:
        return {}
    if label.itemsize > 2 and (int(label.min()) < 0 or int(label.max()) >= 2**16):
        values, label = np.unique(label, return_inverse=True)
        found = ndimage.find_objects(label.reshape(label.shape).astype(np.int32) + 1)
        return {int(value): box for value, box in zip(values, found) if value}
    found = ndimage.find_objects(label)
    return {value: box for value, box in enumerate(found, start=1) if box is not None}


def around(found: list[tuple[slice, ...]], dims: int) -> tuple[slice, ...]:
    """The smallest box that holds all of these; of one voxel if there is none."""
    if not found:
        return (slice(0, 1),) * dims
    edges = zip(*found)
    return tuple(slice(min(e.start for e in axis), max(e.stop for e in axis)) for axis in edges)


def body(array: Array) -> Array:
    """Voxels that are not the constant air around a scan.

    These are those above its minimum, if at least 5 % lie at it; else all.
    """
    mask: Array = array > array.min()
    filled = np.count_nonzero(mask) / mask.size
    return mask if 0 < filled < 0.95 else np.ones_like(mask)
