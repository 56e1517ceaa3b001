"""Random patches out of a store: formats, codecs and chunks, from disk and from the system's cache.

    python benchmarks/speed/patches.py PREPARED          # a folder that `oncoseg prepare` has made
    python benchmarks/speed/patches.py PREPARED --quick  # few patches, to see that it works

The arrays of a case (image, present, label) are written by each way and read back in boxes of 64,
96 and 128 voxels an axis, the same boxes for all. `cold` reads after the system was asked to forget
the files (Linux; elsewhere it is as warm). Times are of the clock there and else of the processor,
since a machine may be busy; zarr takes part where it is installed. Writes
results/patches.json; docs/decisions/store.md says what follows.
"""

import importlib.util
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import blosc2
import numpy as np

from oncoseg.prepare import open_store

HERE = Path(__file__).parent
SIZES, BOXES, TURNS = (64, 96, 128), 6, 3


def by_blosc(path, array, *, codec, level, channels, block, chunk=64):
    """One chunked file."""
    spatial = array.shape[1:]
    blosc2.asarray(
        array,
        urlpath=str(path),
        mode="w",
        chunks=(len(array) if channels else 1, *(min(chunk, size) for size in spatial)),
        blocks=(1, *(min(block, size) for size in spatial)),
        cparams={"codec": blosc2.Codec[codec], "clevel": level, "nthreads": 1},
    )


def by_zarr(path, array):
    """A file a chunk, by its own default codec."""
    import zarr  # noqa: PLC0415 - it takes part where it is installed

    made = zarr.create_array(
        str(path), shape=array.shape, dtype=array.dtype, chunks=(len(array), 64, 64, 64)
    )
    made[:] = array


def of_blosc(path):
    """Opened for reading."""
    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


def of_zarr(path):
    """Opened for reading."""
    import zarr  # noqa: PLC0415

    return zarr.open_array(str(path), mode="r")


def by_numpy(path, array):
    """As it lies in memory."""
    with path.open("wb") as handle:
        np.save(handle, array)


WAYS = {
    f"blosc2 {codec} {level}, chunks of {'all channels' if channels else 'one channel'}, "
    f"blocks of {block}": (
        partial(by_blosc, codec=codec, level=level, channels=channels, block=block),
        of_blosc,
    )
    for codec, level, channels, block in (
        ("ZSTD", 1, True, 32),
        ("ZSTD", 1, True, 16),
        ("ZSTD", 1, False, 32),
        ("ZSTD", 3, False, 32),
        ("LZ4", 5, True, 32),
        ("LZ4HC", 5, True, 32),
        ("BLOSCLZ", 5, True, 32),
    )
}
WAYS["npy, mapped"] = (by_numpy, partial(np.load, mmap_mode="r"))
if importlib.util.find_spec("zarr"):
    WAYS["zarr"] = (by_zarr, of_zarr)


def forgotten(folder):
    """Ask the system to drop what it holds of the files."""
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def milliseconds(folder, names, opened, box, clock=time.process_time):
    """To open the arrays and read one patch of each."""
    began = clock()
    for name in names:
        np.ascontiguousarray(opened(folder / name)[(slice(None), *box)])
    return 1000 * (clock() - began)


def measured(arrays, write, opened, boxes):
    """Bytes, seconds to write, and medians of reading each size cold and warm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.process_time()
        for key, array in arrays.items():
            write(folder / key, array)
        row = {"write_seconds": round(time.process_time() - began, 3)}
        files = [path for path in folder.rglob("*") if path.is_file()]
        row["megabytes"] = round(sum(path.stat().st_size for path in files) / 1e6, 2)
        for size, places in boxes.items():
            cold, warm = [], []
            for box in places:
                forgotten(folder)
                cold.append(milliseconds(folder, arrays, opened, box, time.perf_counter))
                warm += [milliseconds(folder, arrays, opened, box) for _ in range(TURNS)]
            row[f"patch_{size}"] = {
                "cold_ms": round(statistics.median(cold), 1),
                "warm_ms": round(statistics.median(warm), 1),
            }
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    return row


def main():
    """Measure, print, write."""
    quick = "--quick" in sys.argv
    case = open_store(Path(sys.argv[1]))[0]
    arrays = {name: case.read(name) for name in ("image", "present", "label")}
    rng = np.random.default_rng(0)
    boxes = {
        size: [
            tuple(
                slice(first, first + size)
                for first in (int(rng.integers(0, max(1, s - size + 1))) for s in case.shape)
            )
            for _ in range(1 if quick else BOXES)
        ]
        for size in SIZES
    }
    rows = {}
    for way, (write, opened) in WAYS.items():
        rows[way] = measured(arrays, write, opened, boxes)
        print(way, rows[way], flush=True)
    machine = f"{platform.machine()} {platform.system()}, blosc2 {blosc2.__version__}"
    result = {"machine": machine, "shape": case.shape, "ways": rows}
    if not quick:
        to = HERE / "results" / "patches.json"
        to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
