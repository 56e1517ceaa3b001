"""Time and memory to predict, beside resampling class by class, and promised beside measured.

    python benchmarks/speed/predicting.py            # resampling, and 20 sizes, classes and engines
    python benchmarks/speed/predicting.py --large    # 512x512x1200 voxels with 117 classes as well
    python benchmarks/speed/predicting.py --quick    # small sizes, to see that it works

Resampling: logits of 11 classes on 273x273x250 voxels of 1.5 mm become labels on 512x512x300 of
0.8x0.8x1.25 mm; `plain` does what nnU-Net does, one scipy call a class, then an argmax. Logits are
of organs (smooth) or noise, in which no shortcut helps. Memory: `oncoseg predict` on a made CT with
an untrained U-Net, each in a process of its own, what was promised after the first window beside
the largest memory that the system counted. Writes results/predicting.json.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from oncoseg import files, memory, registry
from oncoseg.case import Grid, Task
from oncoseg.model import save_model
from oncoseg.predict import predict
from oncoseg.predict.native import THREADS, Native
from oncoseg.prepare.align import Relation
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.threads import started

HERE = Path(__file__).parent
TURNS = 3
SPACING = (0.8, 0.8, 1.25)
SIZES = ((128, 128, 100), (256, 256, 100), (256, 256, 300), (512, 512, 150))
CLASSES = (2, 11, 40)
MATRIX = [
    *((size, classes, 64, "openvino") for size in SIZES for classes in CLASSES),
    *((size, 11, 64, "torch") for size in SIZES),
    *((size, 11, 96, "openvino") for size in SIZES),
]
LARGE = [((512, 512, 1200), 117, 64, "openvino")]
QUICK = [
    ((96, 96, 60), classes, 32, engine) for classes in (2, 11) for engine in ("openvino", "torch")
]


def task_of(classes, patch):
    """A CT and so many exclusive classes."""
    labels = {f"organ_{value}": value for value in range(1, classes)}
    strides = ((2, 2, 2),) * 3
    regions = {name: (name,) for name in labels}
    return Task("organs", ("ct",), labels, regions, (1.5,) * 3, (patch,) * 3, strides)


def logits(classes, shape, *, noise):
    """Logits (classes, *shape) whose classes are smooth blobs, or noise."""
    rng = np.random.default_rng(0)
    if noise:
        return rng.standard_normal((classes, *shape), dtype=np.float32)
    coarse = rng.standard_normal((classes, *(-(-size // 24) for size in shape)))
    zooms = [size / small for size, small in zip(shape, coarse.shape[1:])]
    return np.stack([ndimage.zoom(each, zooms, np.float32, order=1) for each in coarse])


def ours(values, task, source, target):
    """Labels from blocks of rows, as windows hand them on, and the seconds without making these."""
    relation = Relation.between(source, target)
    native = Native(task, relation, source.shape, target.shape, 2, threads=started(THREADS))
    rows = np.moveaxis(values, 3, 0)  # a strided view: windows hand on blocks that are not
    took = 0.0
    seen = np.ones((4, *source.shape[:2]), dtype=bool)
    for first in range(0, len(rows), 4):
        block = rows[first : first + 4].copy()
        began = time.perf_counter()
        native.add(block, seen[: len(block)])
        took += time.perf_counter() - began
    return native.label, took


def plain(values, task, source, target):
    """One scipy call a class, all classes whole in memory, then an argmax; and its seconds."""
    relation = Relation.between(source, target)
    order = list(np.argsort(relation.axes))
    began = time.perf_counter()
    scales, shift = np.diag(relation.linear)[order], relation.shift[order]
    whole = np.stack(
        [
            ndimage.affine_transform(
                each, scales, shift, target.shape, order=1, mode="nearest", output=np.float32
            )
            for each in values
        ]
    )
    return whole.argmax(0).astype(np.uint8), time.perf_counter() - began


def resampling(way, noise, size):
    """Seconds, largest memory beyond what held the logits, and a checksum of the labels."""
    target = Grid(tuple(size), np.diag([*SPACING, 1.0]))
    shape = tuple(round(n * s / 1.5) for n, s in zip(size, SPACING))
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    ends = [(n * s - m * 1.5) / 2 + (1.5 - s) / 2 for n, s, m in zip(size, SPACING, shape)]
    affine[:3, 3] = ends
    source, task = Grid(shape, affine), task_of(11, 64)
    values = logits(11, shape, noise=noise)
    before = memory.peak()
    label, took = {"ours": ours, "plain": plain}[way](values, task, source, target)
    peak = memory.peak()
    counts = np.bincount(label.ravel(), minlength=11)
    # The logits are all there in this test; where windows make them, a slab of 96 rows is.
    held = values.nbytes * (1 - min(1, 96 / shape[2])) if way == "ours" else 0
    return {
        "seconds": round(took, 3),
        "peak_mb": round((peak - held) / 1e6),
        "before_mb": round(before / 1e6),
        "counts": counts.tolist(),
    }


def model(folder, classes, patch):
    """A model file of an untrained network."""
    path = Path(folder) / f"model_{classes}_{patch}.onco"
    if not path.exists():
        task = task_of(classes, patch)
        spelled = "unet:width=8,blocks=1"
        network = registry.build("networks", spelled, task)
        scheme = Normalisation("dataset", -200.0, 300.0, 40.0, 100.0)
        card = {"name": "untrained", "version": "0"}
        save_model(path, network, spelled, Plan(task, {"ct": scheme}), card, "none")
    return str(path)


def scan(folder, size):
    """A made CT: a body of smooth tissue in air."""
    path = Path(folder) / "x".join(map(str, size)) / "case" / "ct_image.nii.gz"
    if path.exists():
        return str(path.parents[1])
    rng = np.random.default_rng(0)
    axes = [np.linspace(-1.15, 1.15, length, dtype=np.float32) for length in size[:2]]
    body = axes[0][:, None] ** 2 + axes[1][None] ** 2 < 1
    array = np.full(size, -1000, np.int16, order="F")
    for place in range(size[2]):
        tissue = rng.integers(-60, 120, (-(-size[0] // 16), -(-size[1] // 16)))
        wide = np.kron(tissue, np.ones((16, 16), int))[: size[0], : size[1]]
        array[:, :, place][body] = wide[body]
    path.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)
    return str(path.parents[1])


def predicting(network, scans, to, engine, limit):
    """Promised and measured memory of one prediction, and its stages."""
    outcome = predict(network, Path(scans), to=Path(to), engine=engine, memory=limit)
    peak = memory.peak()
    if outcome.failed:
        return {"failed": outcome.failed}
    record = files.read_json(outcome.done[0])
    promised = next(iter(outcome.promised.values()))
    return {
        "promised_mb": round(promised / 1e6),
        "peak_mb": round(peak / 1e6),
        "of promised": round(peak / promised, 3),
        "stages": record["stages"],
        "label": record["label_sha256"][:12],
    }


def child(work, *given):
    """What a function of this file returns, in a process of its own."""
    words = [sys.executable, __file__, "--child", json.dumps([work, *given])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compared(size):
    """Both ways of resampling, on both kinds of logits, in turns."""
    table = {}
    for kind, noise in (("organs", False), ("noise", True)):
        runs = {"ours": [], "plain": []}
        for _ in range(TURNS):
            for way, each in runs.items():
                each.append(child("resampling", way, noise, size))
        row = {
            way: sorted(each, key=lambda run: run["seconds"])[TURNS // 2]
            for way, each in runs.items()
        }
        apart = np.abs(np.subtract(row["ours"].pop("counts"), row["plain"].pop("counts"))).sum()
        row["times as fast"] = round(row["plain"]["seconds"] / row["ours"]["seconds"], 2)
        row["voxels apart, at least"] = int(apart)
        table[kind] = row
        print(kind, row)
    return table


def matrix(rows, folder, limit=""):
    """Promised and measured memory of each row."""
    table = []
    for size, classes, patch, engine in rows:
        network = child("model", folder, classes, patch)
        scans = child("scan", folder, size)
        found = child("predicting", network, scans, f"{folder}/out", engine, limit)
        row = {"size": size, "classes": classes, "patch": patch, "engine": engine, **found}
        table.append(row)
        print(row)
    return table


WORKS = {"resampling": resampling, "model": model, "scan": scan, "predicting": predicting}


def main():
    """Run what was asked for."""
    if "--child" in sys.argv:
        work, *given = json.loads(sys.argv[-1])
        print(json.dumps(WORKS[work](*given)))
        return
    quick = "--quick" in sys.argv
    result = {"machine": f"{platform.machine()} {platform.system()}"}
    result["resampling"] = compared((128, 128, 75) if quick else (512, 512, 300))
    with tempfile.TemporaryDirectory() as folder:
        result["memory"] = matrix(QUICK if quick else MATRIX, folder)
        if "--large" in sys.argv:
            result["large"] = matrix(LARGE, folder, "6GB")
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    result["commit"] = commit.stdout.strip()
    print(json.dumps(result))
    if not quick:
        files.write_json(HERE / "results" / "predicting.json", result)


if __name__ == "__main__":
    main()
