"""Lung nodules that four radiologists drew: are samples of a network as far apart as they are?

    python benchmarks/raters.py ../shared/data/lidc_multirater_masks raters

Masks are real, images are not (the set has none): of each nodule the slice on which raters disagree
most, as the mean of their masks, blurred by 2 pixels, plus noise of deviation 0.2. Nodules of some
patients, 20 of the 90, are held out. Each rater's mask is a case of its own with the same image, so
every batch shows raters drawn at random. Generalised energy distance (lower is better, 0 is the
raters' own spread) on the held-out nodules, median and mean over them, for three seeds: 16 samples
of `probabilistic` (a probabilistic U-Net), the same network's one answer at the mean of its prior
(`its mean`), a U-Net trained on random raters (`random rater`) and one trained on their mean
(`mean rater`). What is in the folder already is not run again. Prints JSON and, once whole, writes
results/raters.json.
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
from scipy import ndimage

from oncoseg import files
from oncoseg.blocks.energy import distances, ged
from oncoseg.case import Grid, Task
from oncoseg.predict.engines import bare_batch
from oncoseg.prepare import Plan, open_store
from oncoseg.prepare.align import Aligned
from oncoseg.prepare.plan import Normalisation
from oncoseg.prepare.store import write
from oncoseg.run import Run
from oncoseg.train import resolved
from oncoseg.train.loop import Loop, kept

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
SIZE, HELD, SAMPLES, STEPS = 48, 20, 16, 400
TASK = Task(
    "nodules",
    ("image",),
    {"nodule": 1},
    {"nodule": ("nodule",)},
    spacing=(1.0, 1.0),
    patch=(SIZE, SIZE),
    strides=((2, 2),) * 3,
)
PROBABILISTIC = {"network": "probabilistic_unet:width=8,blocks=1", "method": "elbo"}
RUNS = {
    "probabilistic": ("raters", PROBABILISTIC),
    "random rater": ("raters", {"network": "unet:width=8,blocks=1"}),
    "mean rater": ("mean", {"network": "unet:width=8,blocks=1"}),
}


def nodules(folder):
    """Name, patient, image (SIZE, SIZE) and masks (4, SIZE, SIZE) of every nodule."""
    for number, path in enumerate(sorted(folder.glob("*.npz"))):
        with np.load(path) as held:
            volume = held["masks"] > 0
        apart = (volume.any(0) & ~volume.all(0)).sum((1, 2))
        masks = np.stack([centred(mask) for mask in volume[:, apart.argmax()]])
        noise = np.random.default_rng(number).normal(0, 0.2, (SIZE, SIZE))
        image = ndimage.gaussian_filter(masks.mean(0), 2) + noise
        yield path.stem, path.stem.partition("_")[0], image, masks


def centred(mask):
    """Padded or cut about its middle to SIZE pixels along both axes."""
    for axis in (0, 1):
        size = mask.shape[axis]
        before = (SIZE - size) // 2
        pad = [(0, 0), (0, 0)]
        pad[axis] = (max(0, before), max(0, SIZE - size - before))
        first = max(0, -before)
        mask = np.pad(np.take(mask, range(first, min(size, first + SIZE)), axis), pad)
    return mask


def split(found):
    """Training and held-out nodules; those of a patient stay together."""
    patients = np.random.default_rng(0).permutation(sorted({patient for _, patient, *_ in found}))
    held = []
    for patient in patients:
        mine = [nodule for nodule in found if nodule[1] == patient]
        held += mine if len(held) + len(mine) <= HELD else []
    names = {name for name, *_ in held}
    return [nodule for nodule in found if nodule[0] not in names], held


def stores(training, folder):
    """Two stores of the same images: a case each rater, and a case with the mean of the raters."""
    plan = Plan(TASK, {"image": Normalisation()}, 8)
    for kind in ("raters", "mean"):
        plan.write(files_in(folder / kind) / "plan.json")
        for name, patient, image, masks in training:
            drawn = masks if kind == "raters" else masks.mean(0, keepdims=True)
            for rater, mask in enumerate(drawn):
                case = f"{name}_{rater}"
                label = np.rint(255 * np.stack([1 - mask.astype(float), mask])).astype(np.uint8)
                present = np.ones((1, SIZE, SIZE), dtype=bool)
                grid = Grid((SIZE, SIZE), np.eye(3))
                aligned = Aligned(
                    image[None].astype(np.float32), present, label, grid, labeled=True
                )
                record = {"case": case, "patient": patient}
                write(folder / kind / case, aligned, TASK, record, seed=0)


def files_in(folder):
    """The folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def apart(samples, held):
    """GED of every held-out nodule from logits (n, nodules, 2, *S)."""
    masks = (samples[:, :, 1] > samples[:, :, 0]).numpy()
    return [ged(masks[:, place], nodule[3]) for place, nodule in enumerate(held)], masks


def trained(part, seed, to, held, steps):
    """Train one part with one seed and write its distances."""
    kind, options = RUNS[part]
    name = part.replace(" ", "_")
    run = Run(
        data=str(to / kind),
        to=str(to / f"{name}-{seed}.onco"),
        loss="dice_ce:dice=0",
        augmentations=("spatial",),
        steps=steps,
        minutes=0,
        batch=8,
        average=0.99,
        device="cpu",
        precision="f32",
        seed=seed,
        **options,
    )
    run = resolved(run)
    run.check()
    run.folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    loop = Loop(run, Plan.read(to / kind / "plan.json"), open_store(to / kind), [])
    loop()
    network = kept(loop.average).eval()
    image = torch.from_numpy(np.stack([nodule[2] for nodule in held])[:, None]).float()
    batch = bare_batch(image, torch.ones_like(image))
    torch.manual_seed(seed)
    figures = {"seconds": round(time.process_time() - began)}
    with torch.inference_mode():
        single, _ = apart(network(batch)[0][None], held)
        if part == "probabilistic":
            figures["its mean"] = single
            single, masks = apart(network.samples(batch, SAMPLES), held)
            spread = [distances(masks[:, at], masks[:, at]).mean() for at in range(len(held))]
            figures["spread"] = float(np.mean(spread))
        figures[part] = single
    files.write_json(to / f"{name}-{seed}.json", figures)


def summary(to):
    """Distances of every kind of answer over the seeds that are there."""
    rows = {}
    for path in sorted(to.glob("*-?.json")):
        for part, values in files.read_json(path).items():
            rows.setdefault(part, []).append(values)
    spread = rows.pop("spread", [0.0])
    seconds = rows.pop("seconds", [0])
    table = {
        part: {
            "mean": round(statistics.mean(float(np.mean(values)) for values in each), 4),
            "median": round(statistics.mean(float(np.median(values)) for values in each), 4),
            "seeds": [round(float(np.mean(values)), 4) for values in each],
        }
        for part, each in rows.items()
    }
    return {"ged": table, "samples_apart": round(statistics.mean(spread), 4), "cpu_s": seconds}


def main():
    """Run what is not there yet, then print what is there."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path, help="folder of masks, .npz")
    words.add_argument("to", type=Path, help="folder for stores and figures")
    words.add_argument("--part", choices=RUNS, default="")
    words.add_argument("--seed", type=int, default=-1)
    words.add_argument("--steps", type=int, default=STEPS)
    given = words.parse_args()
    torch.set_num_threads(1)  # images are small: more threads wait for one another
    training, held = split(list(nodules(given.data)))
    if not (given.to / "mean" / "plan.json").exists():
        stores(training, given.to)
    for part in [given.part] if given.part else RUNS:
        for seed in SEEDS if given.seed < 0 else (given.seed,):
            if not (given.to / f"{part.replace(' ', '_')}-{seed}.json").exists():
                trained(part, seed, given.to, held, given.steps)
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    raters = [distances(nodule[3], nodule[3]).mean() for nodule in held]
    result = {"machine": machine, "commit": found.stdout.strip(), "steps": given.steps}
    result |= {"training": len(training), "held": len(held)}
    result |= {"raters_apart": round(float(np.mean(raters)), 4), **summary(given.to)}
    print(json.dumps(result, indent=2))
    if all(len(row["seeds"]) == len(SEEDS) for row in result["ged"].values()) and not given.part:
        files.write_json(files_in(HERE / "results") / "raters.json", result)


if __name__ == "__main__":
    main()
