"""A label map in the making: slice by slice, and no structure painted over another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oncoseg.blocks.drawings import Drawing
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile


class Painted:
    """A label map in the making, which notices overlaps instead of painting over."""

    def __init__(self, one: Drawing, wanted: Mapping[int, int], grid: Grid) -> None:
        self.one, self.wanted, self.grid = one, wanted, grid
        kind = np.uint8 if max(wanted.values()) < 256 else np.int32
        self.array = np.zeros(grid.shape[::-1], dtype=kind)  # (k, j, i)
        self.notes: list[str] = []
        self.overlaps: dict[tuple[int, int], int] = {}

    def add(self, number: int, index: int, mask: Array) -> None:
        """`mask` (rows, columns) of a structure on slice `index`."""
        plane, value = self.array[index], self.wanted[number]
        for other in np.unique(plane[mask & (plane != 0) & (plane != value)]):
            pair = (int(other), value)
            count = int((mask & (plane == other)).sum())
            self.overlaps[pair] = self.overlaps.get(pair, 0) + count
        plane[mask] = value

    def note(self, sentence: str) -> None:
        """A sentence that a reader must see, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def finished(self) -> tuple[Array, list[str]]:
        """Array (i, j, k) and notes; raises `BadFile` if any structures overlap."""
        name = {value: self.one.names[number] for number, value in self.wanted.items()}
        if self.overlaps:
            (first, second), count = max(self.overlaps.items(), key=lambda item: item[1])
            cause = f"draws {name[first]} and {name[second]} over one another in {count} voxels"
            remedy = f"read one of them by its name, as --labels {name[second].replace(' ', '_')}=1"
            raise BadFile(self.one.path, cause, remedy)
        there = set(np.unique(self.array).tolist())
        empty = [name[value] for value in self.wanted.values() if value not in there]
        if empty:
            self.note(f"{', '.join(empty)} holds the centre of no voxel")
        return self.array.T, self.notes
