"""Preparing five BraTS-like cases beside nnU-Net: seconds, processor time and peak memory.

    python benchmarks/speed/preparing.py                  # ours, and what reading every file takes
    python benchmarks/speed/preparing.py NNUNET_PYTHON    # nnU-Net v2 of that interpreter beside it
    python benchmarks/speed/preparing.py --quick          # two small cases, to see that it works

Made are 4 modalities of 240 x 240 x 155 voxels (float32, 1 mm) with three nested labels, a brain in
empty air. Each way takes its turns in processes of its own: ours from nothing, ours again with one
label map changed, nnU-Net's fingerprint, plan and 3d_fullres with its check of the data set. Memory
is the largest of any one process (ru_maxrss) and, on Linux, the largest share of all processes of
a way together (PSS, sampled). Writes results/preparing.json.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

HERE = Path(__file__).parent
MODALITIES = ("T1", "T1ce", "T2", "FLAIR")
SHAPE, SMALL = (240, 240, 155), (60, 60, 40)
TURNS = 3
READ = """
import sys
from pathlib import Path
from oncoseg.read import read_volume
for path in Path(sys.argv[1]).glob("*Tr/*.nii.gz"):
    read_volume(path)
"""


def smooth(rng, shape, cells):
    """Smooth noise of deviation 1."""
    coarse = rng.standard_normal([max(2, size // cells) for size in shape])
    zooms = [size / small for size, small in zip(shape, coarse.shape)]
    return ndimage.zoom(coarse, zooms, np.float32, order=1)


def made(folder, shape, count):
    """A data set as nnU-Net lays it out."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij", sparse=True)
    for case in range(count):
        rng = np.random.default_rng(case)
        brain = sum((axis / 0.7) ** 2 for axis in axes) + 0.05 * smooth(rng, shape, 24) < 1
        place = rng.uniform(-0.2, 0.2, 3)
        away = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, place)))
        away = away / 0.25 + 0.1 * smooth(rng, shape, 9)
        label = sum((away < edge).astype(np.uint8) for edge in (1.35, 0.85, 0.5)) * brain
        for number in range(len(MODALITIES)):
            image = 400 + 60 * smooth(rng, shape, 30) + 18 * rng.standard_normal(shape)
            image += 60.0 * (number - 1) * label
            saved(
                np.where(brain, image.clip(1), 0).astype(np.float32),
                folder / "imagesTr",
                case,
                number,
            )
        saved(label.astype(np.uint8), folder / "labelsTr", case)
    said = {
        "channel_names": dict(enumerate(MODALITIES)),
        "labels": {"background": 0, "edema": 1, "core": 2, "enhancing": 3},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(said), encoding="utf-8")


def saved(array, folder, case, number=None):
    """One file of a case."""
    channel = "" if number is None else f"_{number:04d}"
    image = nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    nibabel.save(image, folder / f"case_{case:03d}{channel}.nii.gz")


def together(parent):
    """MB of memory that a process and all below it hold; 0 where the system does not tell."""
    below, total = {parent}, 0
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if above in below or int(folder.name) == parent:
                below.add(int(folder.name))
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it has ended
    return total / 1000


def child(words, changes):
    """Run a program from this one, which has no other children; what it took as JSON."""
    import resource  # noqa: PLC0415 - not on Windows

    began, most = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as said:
        program = subprocess.Popen(
            words, env={**os.environ, **changes}, stdout=said, stderr=subprocess.STDOUT
        )
        while program.poll() is None:
            most = max(most, together(program.pid))
            time.sleep(0.3)
        took = time.perf_counter() - began
        if program.returncode:
            said.seek(0)
            raise SystemExit(said.read())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "seconds": took,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "largest_process_mb": used.ru_maxrss / unit,
        "together_mb": most,
    }


def measured(words, **changes):
    """What a program takes, in a process that counts it alone."""
    given = json.dumps([[str(word) for word in words], changes])
    done = subprocess.run(
        [sys.executable, __file__, "--child", given], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def turn(folder, python):
    """Every way once."""
    raw, store = folder / "raw" / "Dataset501_Brats", folder / "store"
    ours = [sys.executable, "-m", "oncoseg", "prepare", raw, "--to", store]
    shutil.rmtree(store, ignore_errors=True)
    found = {"reading": measured([sys.executable, "-c", READ, raw]), "ours": measured(ours)}
    path = raw / "labelsTr" / "case_000.nii.gz"
    label = np.asarray(nibabel.load(path).dataobj)
    axis = int(np.flatnonzero(label.any((1, 2)))[0])
    label[axis] = 0
    saved(label, path.parent, 0)
    found["ours, a case changed"] = measured(ours)
    if python:
        shutil.rmtree(folder / "pre", ignore_errors=True)
        command = Path(python).with_name("nnUNetv2_plan_and_preprocess")
        words = [command, "-d", "501", "-c", "3d_fullres", "--verify_dataset_integrity"]
        places = {f"nnUNet_{name}": str(folder / end) for name, end in PLACES.items()}
        found["nnU-Net"] = measured(words, **places)
    return found


PLACES = {"raw": "raw", "preprocessed": "pre", "results": "res"}


def main():
    """Measure, print, write."""
    if "--child" in sys.argv:
        print(json.dumps(child(*json.loads(sys.argv[-1]))))
        return
    quick = "--quick" in sys.argv
    python = next((word for word in sys.argv[1:] if not word.startswith("--")), "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder / "raw" / "Dataset501_Brats", SMALL if quick else SHAPE, 2 if quick else 5)
        turns = [turn(folder, python) for _ in range(1 if quick else TURNS)]
    rows = {}
    for way in turns[0]:
        keys = turns[0][way]
        rows[way] = {
            key: round(statistics.median(each[way][key] for each in turns), 2) for key in keys
        }
        rows[way]["times_ours"] = {
            key: round(statistics.median(each[way][key] / each["ours"][key] for each in turns), 2)
            for key in keys
            if all(each["ours"][key] for each in turns)
        }
        print(way, rows[way], flush=True)
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores"
    result = {
        "machine": machine,
        "commit": commit.stdout.strip(),
        "turns": len(turns),
        "ways": rows,
    }
    if not quick:
        to = HERE / "results" / "preparing.json"
        to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
