"""The recipe gynbtnet on hippocampi: three stages, against the last one alone.

    python benchmarks/gynbtnet.py ../shared/data/msd_task04_hippocampus gynbtnet

Of 200 cases, 60 give scans without labels, 40 others the hippocampus as a whole (for want of many
organs), 60 others are the task, both parts of it, of which ten are labelled, and 40 are held out.
`recipe` makes 400 steps a stage with unet:width=8,residual=true, the last at a rate of 1e-4;
`usual_rate` makes the last at 1e-3, and `without_organs` does so after the first stage. `scratch`
makes the 400 steps of the last stage alone, `scratch_long` all 1200, at 1e-3. Dice is the mean of
both parts over the held-out cases. What is in the folder already is not run again. Prints JSON and
writes results/gynbtnet.json.
"""

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import torch

from oncoseg import files
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import open_store, prepare
from oncoseg.recipe import follow, read_recipe
from oncoseg.run import Run
from oncoseg.train import train

HERE = Path(__file__).parent
PARTS = {"unlabelled": 60, "organs": 40, "task": 60, "held": 40}
STEPS, LABELLED = 400, 10
LABELS = {"anterior": 1, "posterior": 2}
SMALL = {
    "network": "unet:width=8,residual=true",
    "augmentations": ["spatial", "intensity"],
    "batch": 2,
    "device": "cpu",
    "precision": "f32",
    "voxels": 24**3,
    "steps": STEPS,
}


def split(data, to, seed=0):
    """Folders of links to the scans of each part, drawn by the seed."""
    scans = sorted(path.name for path in (data / "images").glob("*.nii.gz"))
    order, first = np.random.default_rng(seed).permutation(scans), 0
    for part, count in PARTS.items():
        for kind in ("images",) if part == "unlabelled" else ("images", "labels"):
            (to / part / kind).mkdir(parents=True, exist_ok=True)
            for name in order[first : first + count]:
                link = to / part / kind / name
                if not link.exists():
                    link.symlink_to((data / kind / name).resolve())
        first += count


def dice(model, store):
    """Mean Dice of both parts over the held-out cases."""
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
    return round(float(np.mean(values)), 4)


def trained(name, to):
    """The model of one way to train."""
    data = {word: str(to / word) for word in ("unlabelled", "organs", "task")}
    model = str(to / f"{name}.onco")
    if Path(model).exists():
        return model
    changes = {**SMALL, "labels": LABELS, "task.labelled": LABELLED}
    changes |= {"organs.regions": {"whole": ["anterior", "posterior"]}}
    found = read_recipe("gynbtnet")
    if name == "recipe":
        return follow(found, data, model, changes, resume=True)
    starts = {"usual_rate": "2_organs.onco", "without_organs": "1_unlabelled.onco"}
    if name in starts:
        start = to / "recipe.stages" / starts[name]
        return train(last(data, model, start=str(start)), resume=True)
    return train(last(data, model, steps=STEPS * (3 if name == "scratch_long" else 1)), resume=True)


def last(data, model, **changes):
    """The last stage of the recipe, on its own."""
    words = {**SMALL, "augmentations": tuple(SMALL["augmentations"]), "labels": LABELS}
    words |= {"data": data["task"], "to": model, "minutes": 0.0, "labelled": LABELLED}
    return Run(**{**words, **changes})


def main():
    """Run what is not there, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("to", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    split(given.data, given.to)
    rows = {}
    for name in ("recipe", "usual_rate", "without_organs", "scratch", "scratch_long"):
        row = given.to / f"{name}.json"
        if not row.exists():
            began = time.monotonic()
            model = trained(name, given.to)
            seconds = round(time.monotonic() - began, 1)
            held = given.to / "held_store"
            if not (held / "plan.json").exists():
                plan = given.to / "recipe.run" / "prepared" / "plan.json"
                prepare(given.to / "held", held, labels=LABELS, plan=plan)
            files.write_json(row, {"dice": dice(model, held), "seconds": seconds})
        rows[name] = files.read_json(row)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    result = {"machine": machine, "commit": commit, "results": rows}
    files.write_json(HERE / "results" / "gynbtnet.json", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
