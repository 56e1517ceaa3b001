"""CPU time to read a DICOM series: ours beside pydicom with plain stacking, and beside SimpleITK.

    python benchmarks/speed/dicom.py [STS_PETCTMR_DICOM]

Ours checks what the others do not: lengths, places, phases, units. The three take turns on one
thread, so that a busy machine slows all alike; printed are medians of CPU time in ms over all
turns, and ratios, as JSON. Without an argument the series are looked for in ../shared/data; where
there are none, there is nothing to print.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK

from oncoseg.read import read_volume

TURNS = 15


def plain(folder: Path) -> Any:
    """As tutorials use pydicom: read all, order by z, stack, rescale."""
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    slope = [float(one.get("RescaleSlope", 1)) for one in slices]
    shift = [float(one.get("RescaleIntercept", 0)) for one in slices]
    stacked = np.stack([one.pixel_array for one in slices], axis=-1).astype(np.float32)
    return stacked * np.float32(slope) + np.float32(shift)


def itk(folder: Path) -> Any:
    """SimpleITK's own way to a series."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.GetArrayFromImage(reader.Execute())


def main(root: Path) -> None:
    """Every series below `root`, by every reader in turn."""
    ways: dict[str, Callable[[Path], Any]] = {
        "oncoseg": read_volume,
        "pydicom": plain,
        "SimpleITK": itk,
    }
    rows = {}
    for folder in sorted(root.glob("*/*/image")):
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS + 1):
            for name, way in ways.items():
                start = time.process_time()
                way(folder)
                times[name].append(time.process_time() - start)
        ms = {name: 1000 * statistics.median(taken[1:]) for name, taken in times.items()}
        rows["/".join(folder.parts[-3:-1])] = {
            **{name: round(value, 1) for name, value in ms.items()},
            **{f"/ {name}": round(ms["oncoseg"] / ms[name], 2) for name in list(ways)[1:]},
        }
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    beside = Path(__file__).parents[3] / "shared/data/sts_petctmr_dicom"
    main(Path(sys.argv[1]) if sys.argv[1:] else beside)
