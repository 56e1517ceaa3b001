"""Breast ultrasound with five labelled images: do synthetic tumours help, and how do they look?

    python benchmarks/synthesis.py ../shared/data synthesis

The images of `bus_uc_20` and `busi_22`, grey and 96 pixels wide, are one data set. For each of
three seeds five are trained on and 30 tested: `supervised`; `baseline`, with implants of the
`freetumor` augmentation that no generator shaped; `unjudged`, with those of a generator that was
trained on the same five images against the supervised network; and `freetumor`, where that network
also judges them. Dice and recall are means over test images. `lefusion` is trained on the five
images of the first seed for the picture. Its columns: a test image, the same with its real tumour
outlined, an implant by `baseline`, `freetumor` and `lefusion`, and where the implant is. What is in
the folder already is not run again; `--seed N` runs one. Prints JSON and, once whole, writes
results/synthesis.json; the picture is `synthesis.png` in the folder.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from oncoseg import files
from oncoseg.blocks.implants import Lesions, differences, draw
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, open_store, prepare
from oncoseg.run import Run
from oncoseg.sample import Sampler
from oncoseg.train import finish, resolved
from oncoseg.train.loop import Loop, kept

HERE = Path(__file__).parent
SETS = ("bus_uc_20", "busi_22")
SEEDS = (0, 1, 2)
LABELLED, SIDE = 5, 96
STEPS = {"supervised": 150, "baseline": 150, "generator": 100, "unjudged": 150, "freetumor": 150}
STEPS["painter"] = 400
SHAPES = "radii=6x12x24"
PLAIN = ("spatial", "intensity")


def options(part, to, seed):
    """What a part's run has beside what all have."""
    judge, model = (to / f"{name}-{seed}.onco" for name in ("supervised", "generator"))
    implant = f"freetumor:{SHAPES}"
    return {
        "supervised": {"augmentations": PLAIN},
        "baseline": {"augmentations": (implant, *PLAIN)},
        "generator": {"method": f"freetumor:{SHAPES},model={judge}", "augmentations": PLAIN},
        "unjudged": {"augmentations": (f"{implant},model={model}", *PLAIN)},
        "freetumor": {"augmentations": (f"{implant},model={model},judge={judge}", *PLAIN)},
        "painter": {
            "method": "lefusion",
            "network": "diffusion_unet:width=16",
            "augmentations": (),
            "foreground": 1.0,
        },
    }[part]


def gathered(data, to):
    """The images and masks of both sets, grey and small, as one data set that is prepared."""
    store = to / "prepared"
    if (store / "plan.json").exists():
        return store
    for name in SETS:
        for kind, mode in (
            ("images", Image.Resampling.BILINEAR),
            ("masks", Image.Resampling.NEAREST),
        ):
            folder = to / "data" / kind
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted((data / name / kind).iterdir()):
                small = Image.open(path).convert("L").resize((SIDE, SIDE), mode)
                small.save(folder / f"{name}_{path.stem.replace(' ', '_')}.png")
    prepare(to / "data", store)
    return store


def measured(network, plan, cases):
    """Mean Dice and recall over cases."""
    infer, task, found = network_engine(network, "cpu"), plan.task, []
    for case in cases:
        image = case.read("image").astype(np.float32)
        logits = slide(infer, image, case.read("present"), task.patch, overlap=0.25)
        truth = task.decode(case.read("label") / np.float32(127.5) - 1)
        label = task.decode(logits)
        values = evaluate(label, truth, regions=task, metrics=("dice", "sensitivity")).means
        found += values.values()
    return {
        "dice": round(float(np.mean([each["dice"] for each in found])), 4),
        "recall": round(float(np.mean([each["sensitivity"] for each in found])), 4),
    }


def chosen(store, seed):
    """Five cases that are trained on, and the others."""
    cases = open_store(store)
    order = np.random.default_rng(seed).permutation(len(cases))
    return [cases[at] for at in order[:LABELLED]], [cases[at] for at in order[LABELLED:]]


def trained(part, seed, store, to):
    """Train one part with one seed and say how good it is."""
    plan = Plan.read(store / "plan.json")
    training, held = chosen(store, seed)
    own = {"network": "unet:width=8", **options(part, to, seed)}
    where = {"data": str(store), "to": str(to / f"{part}-{seed}.onco"), "device": "cpu"}
    run = resolved(
        Run(**where, steps=STEPS[part], minutes=0, batch=4, seed=seed, average=0.99, **own)
    )
    run.check()
    run.folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    loop = Loop(run, plan, training, [])
    loop()
    figures = measured(kept(loop.average), plan, held) if loop.trained == plan.task else {}
    finish(run, plan, loop, [])
    figures |= {"cpu_s": round(time.process_time() - began)}
    files.write_json(to / f"{part}-{seed}.json", figures)


def tile(image, low, high, outline=None):
    """One image (*S) as grey bytes (*S, 3), with the outline of a mask in green."""
    grey = np.clip((image - low) / (high - low), 0, 1)[..., None].repeat(3, -1)
    if outline is not None:
        edge = outline & ~ndimage.binary_erosion(outline)
        grey[edge] = (0, 1, 0)
    return (255 * grey).astype(np.uint8)


def picture(store, to, rows=6):
    """Real and synthetic tumours side by side."""
    plan = Plan.read(store / "plan.json")
    task, (_, held) = plan.task, chosen(store, 0)
    sampler = Sampler(held, task, task.patch, rows, foreground=1.0, seed=3)
    batch, lesions = sampler(0), Lesions.of(task, "", "")
    torch.manual_seed(4)
    implants = draw(batch, lesions, (6.0, 12.0, 24.0))
    generator = open_model(to / "generator-0.onco").network()
    painter = open_model(to / "painter-0.onco").network()
    region = implants.region.numpy()[:, 0]
    with torch.no_grad():
        maps = {
            "baseline": torch.full_like(batch.image, 0.45),
            "freetumor": differences(generator(batch)[0]),
        }
        made = {name: implants.painted(batch, each, 3.0).image for name, each in maps.items()}
        only = torch.cat([~implants.region, implants.region], 1).float()
        made["lefusion"] = painter.samples(batch.but(label=only), 1)[0]
    columns = []
    for item in range(rows):
        image = batch.image[item, 0].numpy()
        low, high = np.percentile(image, (1, 99))
        real = batch.label[item, 1].numpy() > 0.5
        tiles = [tile(image, low, high), tile(image, low, high, real)]
        tiles += [tile(each[item, 0].numpy(), low, high) for each in made.values()]
        tiles.append(tile(made["lefusion"][item, 0].numpy(), low, high, region[item]))
        columns.append(np.concatenate(tiles, 1))
    whole = Image.fromarray(np.concatenate(columns, 0))
    whole.resize((whole.width * 2, whole.height * 2), Image.Resampling.LANCZOS).save(
        to / "synthesis.png"
    )


def summary(to):
    """Mean over seeds and each of them, of the parts that are there."""
    rows = {}
    for part in STEPS:
        paths = [to / f"{part}-{seed}.json" for seed in SEEDS]
        each = [files.read_json(path) for path in paths if path.exists()]
        for name in ("dice", "recall"):
            values = [figures[name] for figures in each if name in figures]
            if values:
                row = {"mean": round(statistics.mean(values), 4), "seeds": values}
                rows.setdefault(part, {})[name] = row
    return rows


def main():
    """Run what is wanted and not there yet, then print what is there."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path, help="the folder that holds both sets")
    words.add_argument("to", type=Path, help="folder for models, figures and the picture")
    words.add_argument("--seed", type=int, default=-1)
    given = words.parse_args()
    torch.set_num_threads(2)
    store = gathered(given.data, given.to)
    for seed in SEEDS if given.seed < 0 else (given.seed,):
        for part in STEPS:
            if (part != "painter" or seed == 0) and not (given.to / f"{part}-{seed}.json").exists():
                trained(part, seed, store, given.to)
    if (given.to / "painter-0.onco").exists():
        picture(store, given.to)
    rows = summary(given.to)
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    result = {"machine": machine, "commit": found.stdout.strip(), "steps": STEPS}
    result |= {"labelled": LABELLED, "tested": 35 - LABELLED, "figures": rows}
    print(json.dumps(result, indent=2))
    if all(len(row["dice"]["seeds"]) == len(SEEDS) for row in rows.values()):
        files.write_json(HERE / "results" / "synthesis.json", result)


if __name__ == "__main__":
    main()
