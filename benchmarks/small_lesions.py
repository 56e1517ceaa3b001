"""Whether aiming patches at lesions, and not at voxels of lesions, finds the small ones.

    python benchmarks/small_lesions.py --to /tmp/small

Noisy pictures of 128 x 128 with one lesion of radius 20 and six of radius 2: by voxels, a patch
that is aimed holds one of the small ones on purpose in 6 of 100 times; by lesions and by voxels in
equal shares, in 46. Equal steps and seeds; lesion sensitivity, false positives and Dice on unseen
pictures, a row a seed. The phantom is ours: it shows what the rule does, not what it is worth.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from oncoseg.case import Case, Grid, Task, Volume
from oncoseg.evaluate import evaluate
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, align
from oncoseg.prepare.plan import Normalisation
from oncoseg.prepare.store import write
from oncoseg.run import Run
from oncoseg.train.loop import Loop, kept

SIZE, LARGE, SMALL, COUNT = 128, 20, 2, 6
METRICS = ("lesion_sensitivity", "false_positives", "dice")
TASK = Task(
    "small", ("image",), {"lesion": 1}, {"lesion": ("lesion",)}, (1.0, 1.0), (48, 48), ((2, 2),) * 3
)


def picture(seed):
    """One picture as a case; lesions do not touch."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.indices((SIZE, SIZE)))
    label = np.zeros((SIZE, SIZE), np.uint8)
    for radius in (LARGE, *[SMALL] * COUNT):
        while True:
            middle = rng.integers(radius + 2, SIZE - radius - 2, 2)
            away = ((place - middle[:, None, None]) ** 2).sum(0) ** 0.5
            if not label[away <= radius + 4].any():
                break
        label[away <= radius] = 1
    image = label * 2.0 + rng.normal(0, 1, label.shape)
    image += 2 * np.sin(place[0] / 17 + rng.random() * 6) * np.cos(place[1] / 23)
    grid, name = Grid((SIZE, SIZE), np.eye(3)), f"p{seed:04d}"
    volume = Volume(image.astype(np.float32), grid, Path(name))
    return Case(name, name, {"image": volume}, {"image": Volume(label, grid, Path(name))})


def by_voxels(case):
    """The stored case with points drawn evenly from all voxels of the region."""
    inside = np.argwhere(case.read("label")[1] > 127)
    return case.but(points={"lesion": inside.tolist()})


def measured(cases, plan, to, seed, steps):
    """Means on unseen pictures after training on these."""
    run = Run("", str(to / "m.onco"), network="unet:width=8", augmentations=(), minutes=0)
    run = replace(run, steps=steps, seed=seed, batch=4, device="cpu", average=0.97, rate=5e-3)
    run.folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(run, plan, cases, ())
    loop()
    infer, rows = network_engine(kept(loop.average), "cpu"), []
    for number in range(1000, 1020):
        seen = align(picture(number), plan)
        logits = slide(infer, seen.image, seen.present, TASK.patch, overlap=0.25)
        truth = picture(number).drawn.array
        found = evaluate(TASK.decode(logits), truth, spacing=(1, 1), regions=TASK, metrics=METRICS)
        rows.append(found.means["lesion"])
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in METRICS}


def main():
    """Print a row a seed and way as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.parse_args()
    torch.set_num_threads(1)
    plan = Plan(TASK, {"image": Normalisation()}, 4)
    table = {}
    for seed in range(words.seeds):
        cases = []
        for number in range(12):
            one = picture(100 * seed + number)
            record = {"case": one.id, "patient": one.id, "site": ""}
            folder = words.to / f"{seed}" / one.id
            cases.append(write(folder, align(one, plan), TASK, record, seed=number))
        for way, these in (("by lesions", cases), ("by voxels", [by_voxels(c) for c in cases])):
            to = words.to / f"{seed}_{way[3:]}"
            table[f"{way}, seed {seed}"] = measured(these, plan, to, seed, words.steps)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
