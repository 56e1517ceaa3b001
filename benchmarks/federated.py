"""Three sites of unlike hippocampi: federated, alone, and pooled, by as many steps in all.

    python benchmarks/federated.py ../shared/data/msd_task04_hippocampus federated

Of 100 cases, 60 are sorted by the size of their hippocampus into three sites of 20 (small, middle,
large) and 40, drawn by the seed, are held out. `fedavg` and `fedprox` make 10 rounds of 40 steps at
each site, `pooled` and each site `alone` 1200 steps, all with unet:width=8 and two small patches a
step. Dice is the mean of both parts over the held-out cases. What is in the folder already is not
run again. Prints JSON and writes results/federated.json. Needs the extra `federated`.
"""

import argparse
import json
import platform
import shutil
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from oncoseg import files
from oncoseg.evaluate import evaluate
from oncoseg.federate import federate
from oncoseg.model import open_model
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import open_store, prepare
from oncoseg.run import Run
from oncoseg.train import train

HERE = Path(__file__).parent
SITES = ("small", "middle", "large")
EACH, HELD, ROUNDS, STEPS, VOXELS = 20, 40, 10, 40, 24**3


def split(data, to, seed=0):
    """Folders of links to the scans of each site, of all sites, and of the held-out cases."""
    scans = sorted(path.name for path in (data / "images").glob("*.nii.gz"))
    chosen = np.random.default_rng(seed).permutation(scans)[: 3 * EACH + HELD]
    here, held = chosen[: 3 * EACH], chosen[3 * EACH :]
    size = {name: np.count_nonzero(nib.load(data / "labels" / name).dataobj) for name in here}
    here = sorted(here, key=size.get)
    parts = {site: here[at * EACH : (at + 1) * EACH] for at, site in enumerate(SITES)}
    for folder, names in {**parts, "pooled": here, "held": held}.items():
        for kind in ("images", "labels"):
            (to / folder / kind).mkdir(parents=True, exist_ok=True)
            for name in names:
                link = to / folder / kind / name
                if not link.exists():
                    link.symlink_to((data / kind / name).resolve())


def dice(model, store):
    """Mean Dice of both parts over the held-out cases, and that of the worst tenth of them."""
    opened = open_model(model)
    task, infer = opened.task, network_engine(opened.network(), "cpu")
    values = []
    for case in open_store(store):
        image = case.read("image").astype(np.float32)
        logits = slide(infer, image, case.read("present"), task.patch, overlap=0.25)
        truth = task.decode(case.read("label") / np.float32(127.5) - 1)
        label = task.decode(logits[: task.outputs])
        found = evaluate(label, truth, regions=task, metrics=("dice",)).means
        values.append(np.mean([metrics["dice"] for metrics in found.values()]))
    worst = np.sort(values)[: max(1, len(values) // 10)]
    return round(float(np.mean(values)), 4), round(float(np.mean(worst)), 4)


def trained(name, to, plan):
    """The model of one way to train; a federation that was stopped is begun anew."""
    model = to / f"{name}.onco"
    if model.exists():
        return model
    words = {
        "to": str(model),
        "network": "unet:width=8",
        "augmentations": ("spatial", "intensity"),
        "labels": {"anterior": 1, "posterior": 2},
        "minutes": 0,
        "batch": 2,
        "device": "cpu",
        "precision": "f32",
        "plan": str(plan),
    }
    if name in ("fedavg", "fedprox"):
        shutil.rmtree(to / f"{name}.run", ignore_errors=True)
        strategy = "fedprox:pull=0.01" if name == "fedprox" else name
        run = Run(data="", steps=STEPS, **words)
        sites = [to / site for site in SITES]
        return federate(run, sites, strategy=strategy, rounds=ROUNDS, engine="process")
    data = to / name.removeprefix("alone_")
    return train(Run(data=str(data), steps=3 * ROUNDS * STEPS, **words), resume=True)


def main():
    """Run what is not there, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("to", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    split(given.data, given.to)
    labels = {"anterior": 1, "posterior": 2}
    plan = given.to / "plan" / "plan.json"
    if not plan.exists():
        prepare(given.to / SITES[0], plan.parent, labels=labels, voxels=VOXELS)
    held = given.to / "held_store"
    if not (held / "plan.json").exists():
        prepare(given.to / "held", held, labels=labels, plan=plan)
    rows = {}
    for name in ("fedavg", "fedprox", *(f"alone_{site}" for site in SITES), "pooled"):
        row = given.to / f"{name}.json"
        if not row.exists():
            began = time.monotonic()
            model = trained(name, given.to, plan)
            seconds = round(time.monotonic() - began, 1)
            mean, worst = dice(model, held)
            files.write_json(row, {"dice": mean, "worst_tenth": worst, "seconds": seconds})
        rows[name] = files.read_json(row)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    result = {"machine": machine, "commit": commit, "sites": list(SITES), "results": rows}
    files.write_json(HERE / "results" / "federated.json", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
