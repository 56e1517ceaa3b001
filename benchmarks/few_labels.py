"""Hippocampus with ten labels: what unlabelled scans add, in training, before it, and after it.

    python benchmarks/few_labels.py ../shared/data/msd_task04_hippocampus few_labels

At 1.5 mm, so that it takes minutes, and with mirroring as the only augmentation, as light as in the
papers. Of the 160 training cases of the first of five folds, ten keep
their labels. Dice is of the whole hippocampus, the mean of 40 held-out cases, for three seeds:
`supervised` (with as many labelled patches a step as the others, and `supervised_4` with as many
patches), `mean_teacher`, `bcp`, and `fine_tuned`: supervised, from what `misfm_volume_fusion`
learned once of the same 160 scans without labels. Then `source`, the supervised network, on held-
out scans whose contrast was bent, and `adapted`, the same after `sfda_prior_entropy` on training
scans bent likewise, in half of the steps; its prior comes from the ten labels. What is in the
folder already is not run again, and `--part NAME` runs that one. Prints JSON and, once whole,
writes results/few_labels.json.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncoseg import files
from oncoseg.case import Task
from oncoseg.evaluate import evaluate
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, Stored, held_out, open_store, prepare
from oncoseg.prepare.plan import Normalisation
from oncoseg.run import Run
from oncoseg.train import finish, hidden, resolved
from oncoseg.train.loop import Loop, kept

HERE = Path(__file__).parent
TASK = Task(
    "hippocampus",
    ("image",),
    {"anterior": 1, "posterior": 2},
    {"hippocampus": ("anterior", "posterior")},
    spacing=(1.5, 1.5, 1.5),
    patch=(24, 40, 24),
    strides=((2, 2, 2),) * 3,
)
SEEDS = (0, 1, 2)
LABELLED = 10
STEPS = 1500
MIRRORED = "spatial:degrees=0,scale=1,elastic=0"
RUNS = {
    "supervised": {"batch": 2},
    "supervised_4": {"batch": 4},
    "mean_teacher": {"method": "mean_teacher", "batch": 4},
    "bcp": {"method": "bcp:warm_up=500", "batch": 4},
    "pretext": {"method": "misfm_volume_fusion:blocks=8x16", "batch": 2},
    "fine_tuned": {"batch": 2, "start": "pretext"},
    "adapted": {"method": "sfda_prior_entropy", "batch": 4, "rate": 1e-4, "start": "supervised"},
}


def bend(values):
    """Another contrast: dark and bright differ less, and bright ones turn dark again."""
    return values - 0.35 * np.maximum(values, 0) ** 2


@dataclass(frozen=True)
class Bent(Stored):
    """A stored case whose image has another contrast."""

    def read(self, name, box=None):
        """As it is stored, but for the image."""
        array = super().read(name, box)
        return bend(array.astype(np.float32)) if name == "image" else array


def bent(cases):
    """The same cases in another contrast."""
    return [Bent(case.folder, case.record) for case in cases]


def dice(network, plan, cases):
    """Mean Dice of the regions over cases, on the plan's grid."""
    infer, task, values = network_engine(network, "cpu"), plan.task, []
    for case in cases:
        image = case.read("image").astype(np.float32)
        logits = slide(infer, image, case.read("present"), task.patch, overlap=0.25)
        truth = task.decode(case.read("label") / np.float32(127.5) - 1)
        label = task.decode(logits[: task.outputs])
        found = evaluate(label, truth, regions=task, metrics=("dice",)).means
        values.append([metrics["dice"] for metrics in found.values()])
    return round(float(np.mean(values)), 4)


def prior(cases):
    """Share of the scan that each region fills in cases that are labelled, as an option."""
    shares = [(case.read("label") / 255).mean((1, 2, 3)) for case in cases if case.labeled]
    return "x".join(f"{share:.4f}" for share in np.mean(shares, axis=0))


def trained(part, seed, store, to, steps):
    """Train one part with one seed and say how good it is."""
    options = dict(RUNS[part])
    plan = Plan.read(store / "plan.json")
    training, held = held_out(open_store(store), 5, 0)
    training = hidden(training, LABELLED, seed)
    if part == "adapted":
        steps //= 2
        options["method"] += f":prior={prior(training)}"
        training, held = bent(training), bent(held)
    if "start" in options:
        first = 0 if part == "fine_tuned" else seed
        options["start"] = str(to / f"{options['start']}-{first}.onco")
    run = resolved(
        Run(
            data=str(store),
            to=str(to / f"{part}-{seed}.onco"),
            network="unet:width=8",
            augmentations=(MIRRORED,),
            steps=steps,
            minutes=0,
            folds=5,
            labelled=LABELLED,
            seed=seed,
            **options,
        )
    )
    run.check()
    run.folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    loop = Loop(run, plan, training, [])
    figures = {"source": dice(kept(loop.average), plan, held)} if part == "adapted" else {}
    loop()
    if loop.trained == plan.task:
        figures["dice"] = dice(kept(loop.average), plan, held)
    figures |= {"cpu_s": round(time.process_time() - began), "method": run.method}
    if part in {"pretext", "supervised"}:
        finish(run, plan, loop, [])
    files.write_json(to / f"{part}-{seed}.json", figures)


def summary(to):
    """Mean over seeds and each of them, of the parts that are there."""
    rows = {}
    for part in RUNS:
        paths = [to / f"{part}-{seed}.json" for seed in SEEDS]
        each = [files.read_json(path) for path in paths if path.exists()]
        for name in ("source", "dice"):
            values = [figures[name] for figures in each if name in figures]
            if values:
                row = {"mean": round(statistics.mean(values), 4), "seeds": values}
                rows["source" if name == "source" else part] = row
    return rows


def main():
    """Run what is wanted and not there yet, then print what is there."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path, help="the data set")
    words.add_argument("to", type=Path, help="folder for models and figures")
    words.add_argument("--part", choices=RUNS, default="")
    words.add_argument("--seed", type=int, default=-1)
    words.add_argument("--steps", type=int, default=STEPS)
    given = words.parse_args()
    store = given.to / "prepared"
    if not (store / "plan.json").exists():
        plan = Plan(TASK, {"image": Normalisation()}).write(given.to / "plan.json")
        prepare(given.data, store, plan=plan)
    seeds = SEEDS if given.seed < 0 else (given.seed,)
    for part in [given.part] if given.part else RUNS:
        for seed in seeds[:1] if part == "pretext" else seeds:
            if not (given.to / f"{part}-{seed}.json").exists():
                trained(part, seed, store, given.to, given.steps)
    rows = summary(given.to)
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    result = {"machine": machine, "commit": found.stdout.strip(), "steps": given.steps}
    result |= {"labelled": LABELLED, "dice": rows}
    print(json.dumps(result, indent=2))
    whole = len(rows) == len(RUNS) and all(len(row["seeds"]) == len(SEEDS) for row in rows.values())
    if whole:
        files.write_json(HERE / "results" / "few_labels.json", result)


if __name__ == "__main__":
    main()
