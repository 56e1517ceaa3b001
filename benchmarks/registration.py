"""How far a known rigid motion is found again, and whether two people are told from one.

    python benchmarks/registration.py ../shared/data/brats2021 --modality t1ce

Each case of a BraTS folder is moved, and degraded as another visit may be, then registered; then
every pair of cases is. Prints JSON: error in mm over the body, likeness (median local correlation),
seconds. The same people must be above the limit of `response.align.ALIKE`, two below it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from oncoseg.blocks.registration import moved, register
from oncoseg.case import Array, Grid, Volume
from oncoseg.read import read_volume
from oncoseg.response.align import ALIKE

SPACINGS = {"plain": (1.0, 1.0, 1.0), "thick": (1.0, 1.0, 5.0)}


def motion(grid: Grid) -> Array:
    """9 degrees about an oblique axis and 15 mm."""
    middle = (grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (4, -5, 6), degrees=True).as_matrix()
    matrix[:3, 3] = middle + np.array([6, -12, 8]) - matrix[:3, :3] @ middle
    return matrix


def visit(scan: Volume, matrix: Array, how: str) -> Volume:
    """The scan at another visit: `plain`, on `thick` slices, or `other` in contrast and tissue."""
    grid = scan.grid
    ratio = np.array(SPACINGS.get(how, (1.0, 1.0, 1.0))) / grid.spacing
    shape = tuple(int(size) for size in np.array(grid.shape) // ratio)
    grid = Grid(shape, grid.affine @ np.diag([*ratio, 1.0]))
    array, _ = moved(scan, grid, np.linalg.inv(matrix))
    rng = np.random.default_rng(0)
    body = array > 0
    array = array * np.linspace(0.8, 1.2, shape[0])[:, None, None]
    strength = 0.03
    if how == "other":  # gamma, blur, heavy noise, a cavity of 5 cm
        top = np.percentile(array, 99.5)
        array = ndimage.gaussian_filter(top * np.clip(array / top, 0, 1) ** 0.6, 1.0)
        index = np.indices(shape) - np.reshape([0.35, 0.5, 0.6] * np.array(shape), (3, 1, 1, 1))
        array[(index**2).sum(axis=0) < 25**2] = 0.1 * top
        strength = 0.10
    noise = rng.normal(0, strength * array[body].mean(), shape)
    return Volume(np.where(body, array + noise, 0).astype(np.float32), grid, scan.path)


def error(found: Array, true: Array, scan: Volume) -> float:
    """The largest distance between both over the body."""
    index = np.argwhere(scan.array > 0)[::997].T
    points = scan.grid.affine @ np.vstack([index, np.ones(index.shape[1])])
    return float(np.linalg.norm(((found - true) @ points)[:3], axis=0).max())


def main() -> None:
    """Register each case with itself, then each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--modality", default="t1ce")
    words = parser.parse_args()
    files = sorted(words.folder.glob(f"*/*_{words.modality}.nii.gz"))
    scans = {path.parent.name: read_volume(path) for path in files}
    rows: list[dict[str, Any]] = []
    for (name, scan), how in itertools.product(scans.items(), ("plain", "thick", "other")):
        true = motion(scan.grid)
        other = visit(scan, true, how)
        began = time.process_time()
        found = register(scan, other)
        took = time.process_time() - began
        row = {"case": name, "visit": how, "error_mm": round(error(found.matrix, true, scan), 2)}
        rows.append(row | {"likeness": round(found.likeness, 2), "cpu_s": round(took, 1)})
    pairs: list[dict[str, Any]] = [
        {
            "pair": f"{one} {other}",
            "likeness": round(register(scans[one], scans[other]).likeness, 2),
        }
        for one, other in itertools.combinations(scans, 2)
    ]
    summary = {
        "limit": ALIKE,
        "least of one person": min(row["likeness"] for row in rows),
        "most of two": max(pair["likeness"] for pair in pairs),
        "largest error_mm": {
            how: max(row["error_mm"] for row in rows if row["visit"] == how)
            for how in ("plain", "thick", "other")
        },
    }
    print(json.dumps({"same": rows, "pairs": pairs, "summary": summary}, indent=1))


if __name__ == "__main__":
    main()
