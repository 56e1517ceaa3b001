"""The sliding window: patches of a whole scan, blended by a Gaussian, on any engine.

Of the blended logits only the rows that windows still reach are held, as many as a patch has along
one axis: finished rows are handed on, and the windows go down the scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, product

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadOption

Infer = Callable[[Array, Array], Array]
Box = tuple[slice, ...]
Progress = Callable[[list[Box]], Iterator[Box]]
BLOCK = 64 << 20  # bytes of logits that are handed on at once, where a row is not larger


class Room:
    """Where large arrays are held: in memory."""

    def zeros(self, shape: tuple[int, ...], kind: type = np.float32) -> Array:
        """An array of zeros."""
        return np.zeros(shape, dtype=kind)

    def release(self) -> None:
        """Called when a part of an array was used that will not be used soon."""


def begun(infer: Infer) -> None:
    """Tell an engine that another scan begins, if it wants to know.

    What it chooses, it chooses for each scan by itself: no result depends on the scans before.
    """
    told: Callable[[], None] = getattr(infer, "begun", lambda: None)
    told()


def starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of windows along one axis.

    They are evenly spaced, rounded to voxels, and overlap by at least `overlap` of the patch (by
    all but one voxel, if that is less): nnU-Net's steps.
    """
    if size <= patch:
        return [0]
    count = math.ceil((size - patch) / max(1.0, patch * (1 - overlap)) - 1e-6) + 1
    step = (size - patch) / (count - 1)
    return [round(step * place) for place in range(count)]


def gaussian(patch: Sequence[int]) -> Array:
    """Weights (*patch): a Gaussian of one eighth of the patch as deviation, 1 in the middle.

    They are those of nnU-Net, a tenth of what it rounds to float16, down to the least above 0: at
    the corners of a scan, where they are that small, its answers depend on their rounding.
    """
    weight = np.ones((1,) * len(patch))
    for axis, size in enumerate(patch):
        offsets = (np.arange(size) - size // 2) / (size / 8)
        shape = [1] * len(patch)
        shape[axis] = size
        weight = weight * np.exp(-0.5 * offsets**2).reshape(shape)
    rounded = (10 * weight).astype(np.float16).astype(np.float32) / 10
    return np.maximum(rounded, rounded[rounded > 0].min())


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
    progress: Progress = iter,
) -> Array:
    """Image and presence (M, *S) -> blended logits (outputs, *S) float32, whole in memory.

    `infer` takes one patch of each, (1, M, *patch), and gives logits (1, outputs, *patch).
    """
    blocks = stream(infer, image, present, patch, overlap=overlap, progress=progress)
    return np.ascontiguousarray(np.moveaxis(np.concatenate(list(blocks)), 1, 0))


def stream(
    infer: Infer,
    image: Array,
    present: Array,
    patch: Sequence[int],
    *,
    overlap: float = 0.5,
    axis: int = 0,
    progress: Progress = iter,
    room: Room | None = None,
) -> Iterator[Array]:
    """Blended logits of consecutive rows along `axis`: (rows, outputs, *the other axes) float32.

    Each row of the scan comes once, in order; logits are added up in `room`.
    """
    shape = image.shape[1:]
    around = margins(shape, patch)
    if any(map(any, around)):
        image, present = (np.pad(array, [(0, 0), *around]) for array in (image, present))
    boxes = windows(image.shape[1:], patch, overlap)
    boxes = sorted(boxes, key=lambda box: box[axis].start)
    inner = tuple(slice(before, before + size) for (before, _), size in zip(around, shape))
    blend = Blend(patch, image.shape[1:], axis, room or Room())
    begins = sorted({box[axis].start for box in boxes})
    following = dict(zip(begins, [*begins[1:], image.shape[1 + axis]]))
    for start, group in groupby(progress(boxes), key=lambda box: box[axis].start):
        for box in group:
            inside = (slice(None), *box)
            blend.add(box, infer(image[inside][None], present[inside][None])[0])
        yield from blend.finished(following[start], inner)


class Blend:
    """Sums of weighted logits for as many rows along an axis as a patch has."""

    def __init__(self, patch: Sequence[int], shape: Sequence[int], axis: int, room: Room) -> None:
        self.axis, self.weight, self.room = axis, gaussian(patch), room
        self.shape = tuple(patch[axis] if each == axis else n for each, n in enumerate(shape))
        self.first = 0  # row of the scan that the first row here is
        self.total = np.zeros(self.shape, dtype=np.float32)
        self.sums = np.zeros((0, *self.shape), dtype=np.float32)

    def add(self, box: Box, values: Array) -> None:
        """Add the logits (outputs, *patch) of a window."""
        if not len(self.sums):
            self.sums = self.room.zeros((len(values), *self.shape))
        span = box[self.axis]
        moved = slice(span.start - self.first, span.stop - self.first)
        here = tuple(moved if axis == self.axis else each for axis, each in enumerate(box))
        for row, value in zip(self.sums, values):
            row[here] += value * self.weight
            self.room.release()
        self.total[here] += self.weight

    def finished(self, stop: int, inner: Box) -> Iterator[Array]:
        """Rows from the first to before `stop`, inside the box `inner`, which are then given up."""
        count = stop - self.first
        begin = max(0, inner[self.axis].start - self.first)
        end = min(count, inner[self.axis].stop - self.first)
        plane = tuple(each for axis, each in enumerate(inner) if axis != self.axis)
        whole = [each.stop - each.start for each in plane]
        size = max(1, BLOCK // (4 * len(self.sums) * math.prod(whole)))
        for row in range(begin, end, size):
            inside = (slice(row, min(row + size, end)), *plane)
            weights = np.moveaxis(self.total, self.axis, 0)[inside]
            block = np.empty((len(weights), len(self.sums), *whole), dtype=np.float32)
            for output, values in enumerate(self.sums):
                np.divide(np.moveaxis(values, self.axis, 0)[inside], weights, out=block[:, output])
                self.room.release()
            yield block
        for values in (*self.sums, self.total):
            rows = np.moveaxis(values, self.axis, 0)
            rows[: len(rows) - count] = rows[count:]
            rows[len(rows) - count :] = 0
            self.room.release()
        self.first = stop
