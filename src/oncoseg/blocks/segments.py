"""Segments: regions, labels and lesions, the connected pieces of a region, largest first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from oncoseg.blocks.calipers import in_slices, in_space
from oncoseg.blocks.planes import slice_axis
from oncoseg.case import Array, Grid, Prediction

SMALLEST = 50.0  # mm³ (2-D: mm² or px), as the finding `extent` counts pieces


@dataclass(frozen=True)
class Segment:
    """One thing that is marked: its number in a file, its name, the region it is (part) of.

    It is where `source` (*S), which many may share, has `value`, all of it within `box`: masks of
    their own would need as many times the memory of a scan.
    """

    number: int
    name: str
    region: str
    source: Array = field(repr=False)
    box: tuple[slice, ...]
    value: int = 1

    @property
    def part(self) -> Array:
        """Where it is within its box (bool), made when it is asked for."""
        return np.asarray(self.source[self.box] == self.value)

    @property
    def slices(self) -> dict[int, Array]:
        """Index along the last axis -> where it is in this slice of the box, if it is there."""
        part, first = self.part, self.box[2].start
        there = np.flatnonzero(part.any(axis=(0, 1)))
        return {first + int(index): part[:, :, index] for index in there}

    def volume_ml(self, grid: Grid) -> float:
        """Voxels counted, times the volume of a voxel."""
        return int(np.count_nonzero(self.part)) * grid.voxel_volume / 1000


def regions(prediction: Prediction) -> list[Segment]:
    """Every region of the task, also one that is empty."""
    return [
        Segment(number, name, name, mask, _box(mask))
        for number, (name, mask) in enumerate(prediction.masks.items(), start=1)
    ]


def labels(prediction: Prediction) -> list[Segment]:
    """Every label of the task, in the order of its values, also one that is empty."""
    return [
        Segment(value, name, name, prediction.label, _box(prediction.label == value), value)
        for name, value in sorted(prediction.task.labels.items(), key=lambda item: item[1])
    ]


def lesions(prediction: Prediction, regions: Collection[str] = ()) -> list[Segment]:
    """Pieces of each region from 50 mm³ (2-D: mm² or px), `<region> <number>`, largest first.

    They connect by faces, edges or corners. Everywhere a lesion has this name. With `regions`, of
    these alone, and numbered among them.
    """
    found = [
        (f"{name} {place}", name, *piece)
        for name, mask in prediction.masks.items()
        if not regions or name in regions
        for place, piece in enumerate(_pieces(mask, prediction.grid), start=1)
    ]
    return [Segment(number, *one) for number, one in enumerate(found, start=1)]


def diameters(segment: Segment, grid: Grid) -> tuple[float, float, float]:
    """Longest diameter in a slice, the perpendicular in that slice, and in space, in mm.

    As the finding `diameters` measures them.
    """
    found = in_slices(segment.part, grid, slice_axis(grid)[0])
    return found["value"], found["across"], in_space(segment.part, grid)


def _box(mask: Array) -> tuple[slice, ...]:
    """The smallest box around a mask; an empty one if it is empty."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(found[0]) if found else (slice(0, 0),) * mask.ndim


def _pieces(mask: Array, grid: Grid) -> Iterator[tuple[Array, tuple[slice, ...], int]]:
    """The array that holds all pieces, and the box and the value of one after another."""
    found, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(found)
    for number in np.argsort(-sizes, kind="stable"):
        if sizes[number] * grid.voxel_volume >= SMALLEST * (1 - 1e-6):
            yield found, boxes[number], int(number) + 1
