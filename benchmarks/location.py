"""Where tumours lie by the MNI template: seconds, quality, and whether sequences of a case agree.

    python benchmarks/location.py ../shared/data/brats2021 [CASE ...]

Each sequence of a case (layout `brats`) is taken to the template alone, as the finding `location`
does; `spread_mm` is how far the tumour's centre in MNI space lies, at most, from the mean of all.
Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from oncoseg.blocks import atlas
from oncoseg.case import Array, Volume
from oncoseg.read import read_volume

SEQUENCES = ("t1ce", "t1", "t2", "flair")


def one(scan: Volume, mask: Array) -> tuple[dict[str, float], Array]:
    """Figures of one sequence, and the centre of the mask in MNI space."""
    began = time.perf_counter()
    found = atlas.located(scan, atlas.brain(scan))
    seconds = time.perf_counter() - began
    index = np.append(np.argwhere(mask).mean(axis=0), 1)
    told = {
        "seconds": round(seconds, 1),
        "overlap": round(found.overlap, 3),
        "information": round(found.information, 3),
        "residual_mm": round(found.residual_mm, 1),
    }
    return told, (found.matrix @ scan.grid.affine @ index)[:3]


def main(folder: Path, cases: list[str]) -> None:
    """Every case asked for, or all."""
    began = time.perf_counter()
    atlas.template()
    told: dict[str, object] = {"template_seconds": round(time.perf_counter() - began, 1)}
    for place in sorted(path for path in folder.iterdir() if not cases or path.name in cases):
        mask = read_volume(place / f"{place.name}_seg.nii.gz").array > 0
        scans = {name: read_volume(place / f"{place.name}_{name}.nii.gz") for name in SEQUENCES}
        found = {name: one(scan, mask) for name, scan in scans.items()}
        centres = np.array([centre for _, centre in found.values()])
        told[place.name] = {
            **{name: figures for name, (figures, _) in found.items()},
            "mni": [round(float(value), 1) for value in centres.mean(axis=0)],
            "spread_mm": round(float(np.linalg.norm(centres - centres.mean(0), axis=1).max()), 2),
        }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
