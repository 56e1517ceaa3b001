"""The sliding window: patches of a whole scan, blended by a Gaussian, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadOption

Infer = Callable[[Array, Array], Array]


def starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of windows along one axis.

    They are evenly spaced and overlap by at least `overlap` of the patch (by all but one voxel, if
    that is less).
    """
    if size <= patch:
        return [0]
    step = max(1, int(patch * (1 - overlap) + 1e-6))
    count = -(-(size - patch) // step) + 1
    return [round(place * (size - patch) / (count - 1)) for place in range(count)]


def gaussian(patch: Sequence[int]) -> Array:
    """Weights (*patch): a Gaussian of one eighth of the patch as deviation, 1 in the middle.

    It is nowhere below 1e-3.
    """
    weight = np.ones((1,) * len(patch), dtype=np.float32)
    for axis, size in enumerate(patch):
        offsets = (np.arange(size) - (size - 1) / 2) / (size / 8)
        shape = [1] * len(patch)
        shape[axis] = size
        weight = weight * np.exp(-0.5 * offsets**2).reshape(shape).astype(np.float32)
    return np.maximum(weight, 1e-3)


def windows(shape: Sequence[int], patch: Sequence[int], overlap: float) -> list[tuple[slice, ...]]:
    """Boxes that cover `shape` (at least a patch along each axis).

    Raises `BadOption` unless `overlap` is from 0 to below 1: others leave gaps or never end.
    """
    if not 0 <= overlap < 1:
        raise BadOption(f"overlap is a part of the patch from 0 to below 1, not {overlap}")
    axes = [starts(size, length, overlap) for size, length in zip(shape, patch)]
    return [
        tuple(slice(first, first + length) for first, length in zip(corner, patch))
        for corner in product(*axes)
    ]


def margins(shape: Sequence[int], patch: Sequence[int]) -> list[tuple[int, int]]:
    """Voxels to add before and after each axis of a scan, so that it fills a patch.

    A small scan lies in the middle of its patch, as it does in training: a network that has seen
    its edges in one place alone is worse where they lie in another.
    """
    less = [max(0, length - size) for size, length in zip(shape, patch)]
    return [(lacks // 2, lacks - lacks // 2) for lacks in less]


def slide(
    infer: Infer,
    image: Array,
    present: Array,
    patch: Sequence[int],
    *,
    overlap: float = 0.5,
    progress: Callable[[list[tuple[slice, ...]]], Iterator[tuple[slice, ...]]] = iter,
) -> Array:
    """Image and presence (M, *S) -> blended logits (outputs, *S) float32.

    `infer` takes one patch of each, (1, M, *patch), and gives logits (1, outputs, *patch).
    """
    shape = image.shape[1:]
    pad = [(0, 0), *margins(shape, patch)]
    image, present = np.pad(image, pad), np.pad(present, pad)
    weight = gaussian(patch)
    total = np.zeros(image.shape[1:], dtype=np.float32)
    logits = np.zeros((0, *image.shape[1:]), dtype=np.float32)
    for box in progress(windows(image.shape[1:], patch, overlap)):
        inside = (slice(None), *box)
        values = infer(image[inside][None], present[inside][None])[0]
        if not len(logits):
            logits = np.zeros((len(values), *image.shape[1:]), dtype=np.float32)
        logits[inside] += values * weight
        total[box] += weight
    logits /= total
    whole = (slice(None), *(slice(a, a + size) for (a, _), size in zip(pad[1:], shape)))
    return logits[whole]
