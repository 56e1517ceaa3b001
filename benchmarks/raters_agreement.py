"""Lung nodules that four radiologists drew: how far people agree, which bounds what a model can.

    python benchmarks/raters_agreement.py ../shared/data/lidc_multirater_masks

Of every nodule: Dice of pairs of raters, of each with the consensus of the others, the energy
distance of their consensus from all of them, and how far their volumes are apart. Means with 95 %
intervals over patients, medians and the worst nodule, for all nodules and by size. Prints JSON and
writes results/raters_agreement.json.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from oncoseg import files
from oncoseg.blocks.statistics import interval
from oncoseg.evaluate.raters import agreement, consensus

HERE = Path(__file__).parent
SMALL_ML = 0.5  # a sphere of 1 cm
SCORES = ("dice", "lowest", "left_out", "spread", "consensus_ged", "volume_ratio")


def measured(path):
    """The agreement on one nodule, its patient, and the volume of the consensus."""
    with np.load(path) as held:
        masks = held["masks"] > 0
        step = np.diff(held["z"])
        thickness = float(np.median(step)) if len(step) else float(held["slice_thickness"])
        voxel_ml = float(held["pixel_spacing"]) ** 2 * abs(thickness) / 1000
    size = float(np.count_nonzero(consensus(masks))) * voxel_ml
    return {
        "nodule": path.stem,
        "patient": path.stem.partition("_")[0],
        "ml": size,
        **asdict(agreement(masks)),
    }


def table(rows):
    """Mean with interval, median and worst of every score."""
    patients = [row["patient"] for row in rows]
    found = {"nodules": len(rows), "patients": len(set(patients))}
    for score in SCORES:
        values = np.array([row[score] for row in rows])
        low, high = interval(values, patients, samples=2000, seed=0)
        worst = np.argmin(values) if score in ("dice", "lowest", "left_out") else np.argmax(values)
        found[score] = {
            "mean": round(float(values.mean()), 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "median": round(float(np.median(values)), 4),
            "worst": [round(float(values[worst]), 4), rows[int(worst)]["nodule"]],
        }
    return found


def main():
    """Measure every nodule in the folder."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path, help="folder of masks, .npz")
    began = time.perf_counter()
    rows = [measured(path) for path in sorted(words.parse_args().data.glob("*.npz"))]
    small = [row for row in rows if row["ml"] < SMALL_ML]
    large = [row for row in rows if row["ml"] >= SMALL_ML]
    result = {"all": table(rows), f"below {SMALL_ML} ml": table(small), "larger": table(large)}
    print(json.dumps({**result, "seconds": round(time.perf_counter() - began, 2)}, indent=2))
    files.write_json(HERE / "results" / "raters_agreement.json", result)


if __name__ == "__main__":
    main()
