"""How much memory a prediction takes, known before it starts, and where its large arrays are held.

With M modalities, C outputs and maps of the network, R regions, N voxels of the scan as it came,
V on the plan's grid (at least a patch), P in a patch of p rows along the axis that windows go down,
A voxels in a row there and a in one of the scan, in bytes:

    scan           5 M V              normalised images (float32), and where they are present
    sums           4 (C + 1) A p      logits that windows still reach; on disk 4 (A p + A)
    window         12 P + 9 M P       weights, a product, and what the network is given
    air            4 C P              its answer to a window of air, where there are several
    rows           12 C A + block     finished rows on their way, in blocks of up to 64 MB
    reduced        t (4 C a + 12 a)   rows of the scan in t threads; labels alone of exclusive
                                      classes take 20 C g of it, for g = 16384 voxels at once
    labels         N                  the label map
    kept           2 R N              probabilities, if they are asked for; on disk none
    doubt          D N                maps of doubt (uint8), if they are asked for; on disk none. In
                                      each thread 4 C a + 24 a more
    maps           2 maps N           further maps
    engine                            what the first window took, measured: networks differ
    spare                             a quarter of all but the engine, up to 64 MB: what was freed
                                      and the allocator keeps
    base                              what the process held before the first scan was worked on, but
                                      for that: interpreter, libraries, model

Writing takes 3 N beside what is kept, engine and spare; before it, telling lesions apart takes 6 N
while the scan is there. The peak is the base with the largest of running and writing, or what
reading took, which is over by then. Where the next scan is read meanwhile, it comes on top, taken
to be as large as this one: what is stored, its largest image again, 5 M V + 8 V + 3 N.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadData
from oncoseg.memory import said
from oncoseg.predict.native import PIECE, THREADS
from oncoseg.predict.window import BLOCK, Room

SPARE = 64 << 20
SMALL = 1 << 30  # bytes of sums up to which windows go down the first axis


@dataclass(frozen=True)
class Load:
    """What one case asks for; sizes as in the module's table, in bytes.

    `working`: shape of the plan's grid, padded to a patch; `native`: that of the scan; `axis`: the
    one of the working grid that windows go down; `along`: that of the scan which lies along it.
    """

    modalities: int
    outputs: int
    maps: int
    regions: int
    exclusive: bool
    working: tuple[int, ...]
    native: tuple[int, ...]
    patch: tuple[int, ...]
    axis: int
    along: int
    kept: bool = False
    doubts: int = 0
    air: bool = False
    disk: bool = False
    engine: int = 0
    stored: int = 0
    largest: int = 0

    @property
    def channels(self) -> int:
        """Outputs and maps of the network."""
        return self.outputs + self.maps

    def parts(self) -> dict[str, int]:
        """What is held at once while the case runs."""
        channels, patch = self.channels, math.prod(self.patch)
        volume, scan = math.prod(self.working), math.prod(self.native)
        plane = volume // self.working[self.axis]
        slab = plane * self.patch[self.axis]
        row = scan // self.native[self.along]
        block = max(4 * channels * plane, min(BLOCK, 4 * channels * slab))
        light = self.exclusive and not (self.kept or self.maps or self.doubts)
        piece = min(4 * channels * row, 20 * channels * PIECE) if light else 4 * channels * row
        parts = {
            "scan": 5 * self.modalities * volume,
            "sums": 4 * (2 * slab if self.disk else (channels + 1) * slab),
            "window": 12 * patch + 9 * self.modalities * patch,
            "air": 4 * channels * patch * self.air,
            "rows": 12 * channels * plane + block,
            "reduced": THREADS * (piece + 12 * row + (4 * channels + 24) * row * bool(self.doubts)),
            "labels": scan,
            "kept": 2 * self.regions * scan * (self.kept and not self.disk),
            "doubt": self.doubts * scan * (not self.disk),
            "maps": 2 * self.maps * scan,
        }
        spare = min(SPARE, sum(parts.values()) // 4)
        return {**parts, "engine": self.engine, "spare": spare}

    @property
    def running(self) -> int:
        """The sum of all parts."""
        return sum(self.parts().values())

    @property
    def writing(self) -> int:
        """What is held while results are written."""
        parts = self.parts()
        held = ("kept", "doubt", "maps", "engine", "spare", *(("scan",) if self.doubts else ()))
        return (6 if self.doubts else 3) * parts["labels"] + sum(parts[name] for name in held)

    @property
    def reading(self) -> int:
        """What is held at most while such a scan is read and brought to the plan's grid."""
        aligned = (5 * self.modalities + 8) * math.prod(self.working)
        return self.stored + self.largest + aligned + 3 * math.prod(self.native)

    @property
    def most(self) -> int:
        """The larger of both."""
        return max(self.running, self.writing)


def lane(working: Sequence[int], patch: Sequence[int], channels: int) -> int:
    """The axis that windows go down: the first if sums are small, else that with the smallest.

    It depends on nothing else, so that a case has one answer, whatever memory there is.
    """
    volume = math.prod(working)
    sums = [4 * channels * volume // size * rows for size, rows in zip(working, patch)]
    return 0 if sums[0] <= SMALL else sums.index(min(sums))


class Disk(Room):
    """Holds large arrays in files without a name, which vanish with the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maps: list[mmap.mmap] = []

    def zeros(self, shape: tuple[int, ...], kind: type = np.float32) -> Array:
        """An array in a file of its own; `BadData` if the disk has no room for it."""
        count = math.prod(shape) * np.dtype(kind).itemsize
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                self._reserve(file.fileno(), count)
                mapped = mmap.mmap(file.fileno(), count)
        except OSError as error:
            cause = f"{self.folder}: has no room for {said(count)} ({error.strerror or error})"
            raise BadData(f"{cause}; free some space, or give another folder") from error
        self.maps.append(mapped)
        return np.frombuffer(mapped, dtype=kind).reshape(shape)

    @staticmethod
    def _reserve(handle: int, count: int) -> None:
        """Take the space now: a full disk found out later would kill the process."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, count)
            return
        nothing = bytes(1 << 20)
        for first in range(0, count, len(nothing)):
            os.write(handle, nothing[: count - first])

    def release(self) -> None:
        """Let the system have the memory of what was read or written."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self.maps:
                mapped.madvise(mmap.MADV_DONTNEED)
