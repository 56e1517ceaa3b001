"""CPU time to read a volume, checksums and lengths and geometry checked, beside other readers.

    python benchmarks/speed/reading.py

Every reader takes its turn on the same files on one thread, so that a busy machine slows all alike;
printed are medians over all turns and the ratios of each turn. A series of DICOM has `dicom.py`.
Writes results/reading.json with the machine and the commit; 1 if ours takes more than 1.3 times as
long as any of the others.
"""

import gzip
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import SimpleITK

from oncoseg.read import read_volume

HERE = Path(__file__).parent
SHAPE = (240, 240, 155)
TURNS = 9
LIMIT = 1.3


def anatomy():
    """A smooth body with noise in empty air, int16, which compresses as scans do."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in axes) < 0.5
    values = 400 + 200 * np.sin(5 * axes[0]) * np.cos(4 * axes[1]) + rng.normal(0, 15, SHAPE)
    return np.where(inside, values, 0).astype(np.int16)


def written(folder):
    """One volume in every format."""
    image = nibabel.Nifti1Image(anatomy(), np.diag([-1.0, -1.0, 1.0, 1.0]))
    raw = image.to_bytes()
    (folder / "a.nii").write_bytes(raw)
    (folder / "a.nii.gz").write_bytes(gzip.compress(raw, 6))
    itk = SimpleITK.ReadImage(str(folder / "a.nii"))
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(itk, str(folder / name), useCompression=True)
    return ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"]


def of_nibabel(path):
    """As stored, in memory."""
    return np.asanyarray(nibabel.load(path, mmap=False).dataobj)


def of_simpleitk(path):
    """As an array."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def of_pynrrd(path):
    """As an array."""
    return nrrd.read(str(path))[0]


PEERS = {
    "a.nii": {"nibabel": of_nibabel, "SimpleITK": of_simpleitk},
    "a.nii.gz": {"nibabel": of_nibabel, "SimpleITK": of_simpleitk},
    "a.nrrd": {"pynrrd": of_pynrrd, "SimpleITK": of_simpleitk},
    "a.mha": {"SimpleITK": of_simpleitk},
}


def seconds(read, path):
    """CPU time of one reading."""
    start = time.process_time()
    read(path)
    return time.process_time() - start


def commit():
    """The commit that was measured, "" outside git."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def measured(path):
    """Medians in ms and ratios of ours to each other reader, with their spread."""
    readers = {"oncoseg": read_volume, **PEERS[path.name]}
    turns = [{name: seconds(read, path) for name, read in readers.items()} for _ in range(TURNS)]
    rows = {}
    for name in readers:
        ratios = sorted(turn["oncoseg"] / turn[name] for turn in turns[1:])
        rows[name] = {
            "median_ms": round(1000 * statistics.median(turn[name] for turn in turns[1:]), 1),
            "ratio_of_ours": round(statistics.median(ratios), 2),
            "ratio_spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
        print(f"{path.name:<9} {name:<10} {rows[name]}", flush=True)
    return rows


def main():
    """Measure, print, write; 1 if a limit is broken."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(Path(folder) / name) for name in written(Path(folder))}
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    result = {"machine": machine, "commit": commit(), "turns": TURNS - 1, "files": found}
    to = HERE / "results" / "reading.json"
    to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(
        any(row["ratio_of_ours"] > LIMIT for rows in found.values() for row in rows.values())
    )


if __name__ == "__main__":
    sys.exit(main())
