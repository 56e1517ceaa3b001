"""How far diameters are off: ellipsoids turned by any angle, and one tumour on two grids.

    python benchmarks/diameters.py --count 1500 --sarcomas ../shared/data/sts_petctmr

Draws half axes of 9 to 22 mm, pixels of 0.7 to 1.4 mm and slices of 0.7 to 3.5 mm; the truth is the
section through the middle in the plane of the slices. With `--sarcomas`, drawings of one tumour on
the grids of CT and PET. Prints JSON: errors in diagonals of a voxel and in the error that is told.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from oncoseg import Grid, Prediction, Task
from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.target_lesions import Measured, measured
from oncoseg.case import Array
from oncoseg.read import read_volume

TASK = Task("t", ("ct",), {"tumour": 1}, {"tumour": ("tumour",)})


def largest(mask: Array, grid: Grid) -> Measured:
    """The largest lesion of a mask."""
    empty = np.zeros((0, *mask.shape), np.float16)
    prediction = Prediction("c", TASK, grid, mask.astype(np.uint8), empty, ("ct",))
    return next(iter(measured(prediction, ["tumour"]).values()))


def ellipsoid(chance: np.random.Generator) -> dict[str, float]:
    """Errors of one that is drawn at random."""
    spacing = np.array([*chance.uniform(0.7, 1.4, 2), chance.uniform(0.7, 3.5)])
    turn = Rotation.random(random_state=chance).as_matrix()
    form = turn @ np.diag(1 / chance.uniform(9, 22, 3) ** 2) @ turn.T
    half = np.ceil(np.sqrt(np.diag(np.linalg.inv(form))) / spacing).astype(int) + 2
    index = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in half], indexing="ij"), axis=-1)
    points = (index + chance.uniform(-0.5, 0.5, 3)) * spacing
    mask = np.einsum("...i,ij,...j->...", points, form, points) <= 1
    grid = Grid(mask.shape, np.diag([*spacing, 1.0]))
    plane = [axis for axis in range(3) if axis != slice_axis(grid)[0]]
    long, short = 2 / np.sqrt(np.linalg.eigvalsh(form[np.ix_(plane, plane)]))
    one, diagonal = largest(mask, grid), float(np.linalg.norm(spacing))
    return {
        "long_axis_in_diagonals": abs(one.long - long) / diagonal,
        "short_axis_in_diagonals": abs(one.short - short) / diagonal,
        "long_axis_in_error_told": abs(one.long - long) / one.error,
    }


def sarcoma(folder: Path) -> dict[str, object]:
    """The long axis of one tumour on the grids of CT and of PET."""
    found = []
    for kind in ("CT", "PET"):
        volume = read_volume(folder / f"{kind}_mask.nii.gz")
        found.append(largest(volume.array > 0, volume.grid))
    ct, pet = found
    told = float(np.hypot(ct.error, pet.error))
    sizes = {"ct_mm": round(ct.long, 1), "pet_mm": round(pet.long, 1), "told_mm": round(told, 1)}
    return {"case": folder.name, **sizes, "within": abs(ct.long - pet.long) <= told}


def main() -> None:
    """Print what is found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--sarcomas", type=Path)
    words = parser.parse_args()
    chance = np.random.default_rng(0)
    drawn = [ellipsoid(chance) for _ in range(words.count)]
    told: dict[str, object] = {"ellipsoids": len(drawn)}
    for name in drawn[0]:
        values = np.array([one[name] for one in drawn])
        told[name] = {"median": round(float(np.median(values)), 3), "max": round(values.max(), 3)}
    if words.sarcomas:
        folders = sorted(path.parent for path in words.sarcomas.glob("*/PET_mask.nii.gz"))
        both = [folder for folder in folders if (folder / "CT_mask.nii.gz").exists()]
        told["sarcomas"] = [sarcoma(folder) for folder in both]
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
