"""One abdominal CT: does another phrase give another organ, also a phrase never trained?

    python benchmarks/phrases.py ../shared/data/totalsegmentator

SAT in two dimensions learns six names from the axial slices of one scan (the folder's smaller CT
is a part of it), at 6 mm, and is asked in words for slices it was not trained on: slabs of 8 slices
are trained on and held out in turn, with 2 slices (6 mm) between them that neither uses. It is the
same patient, so the figures say whether words switch structures, not how well SAT segments
strangers; the labels are a model's, not a person's. Prints JSON: for each phrase its Dice with each
organ over all held-out slices; `others` are phrases never shown in training. `--overlapping`
adds the union of both kidneys as a seventh name, so that regions overlap and each is asked alone.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from oncoseg import registry
from oncoseg.case import Batch, Prompts, Task

ORGANS = {"spleen": 1, "right kidney": 2, "left kidney": 3, "liver": 5, "colon": 20, "aorta": 52}
OTHERS = {
    "hepatic organ": "liver",
    "hepatic parenchyma": "liver",
    "splenic organ": "spleen",
    "large intestine": "colon",
    "abdominal aorta": "aorta",
    "kidney on the left side": "left kidney",
    "renal organ, right": "right kidney",
}
SHAPE = (64, 56)
SLAB, GAP = 8, 2


def organs_task(*, overlapping):
    """The organs as classes, or as regions with both kidneys as one more."""
    regions = {name: (name,) for name in ORGANS}
    if overlapping:
        regions["kidneys"] = ("right kidney", "left kidney")
    return Task("organs", ("ct",), ORGANS, regions, (6.0, 6.0), SHAPE, ((2, 2),) * 3)


def slices(folder):
    """Axial slices (Z, *SHAPE) at 6 mm, -160 to 240 HU as -1 to 1, and their labels."""
    image, label = (
        np.moveaxis(np.asarray(nib.load(folder / name).dataobj), 2, 0)
        for name in ("example_ct.nii.gz", "example_seg_fast_force_split.nii.gz")
    )
    edges = [(0, 0), *((0, 2 * want - have) for want, have in zip(SHAPE, image.shape[1:]))]
    image = np.clip((np.pad(image, edges, constant_values=-1000) - 40) / 200, -1, 1)
    label = np.pad(np.where(np.isin(label, list(ORGANS.values())), label, 0), edges)
    halved = image.reshape(-1, SHAPE[0], 2, SHAPE[1], 2).mean((2, 4))
    return halved.astype(np.float32), label[:, ::2, ::2]


def split(count):
    """Indices of the slices that are trained on, and of those held out."""
    period = 2 * (SLAB + GAP)
    training = [index for index in range(count) if index % period < SLAB]
    held = [index for index in range(count) if 0 <= index % period - SLAB - GAP < SLAB]
    return training, held


def batch_of(task, image, label):
    """Slices (B, *S) and their labels as a batch, everything known."""
    image = torch.from_numpy(image)[:, None]
    size = len(image)
    return Batch(
        image=image,
        present=torch.ones_like(image, dtype=torch.bool),
        label=torch.from_numpy(task.encode(label)).movedim(0, 1).float(),
        weight=torch.ones(size, 1, *SHAPE),
        labeled=torch.ones(size, dtype=torch.bool),
        annotated=torch.ones(size, task.outputs, dtype=torch.bool),
        domain=torch.zeros(size, dtype=torch.long),
        prompts=Prompts.none(image),
    )


def learn(network, task, image, label, steps):
    """Dice and cross-entropy by AdamW; slices are shifted, made brighter or darker, and noisy."""
    loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
    method = registry.build("methods", "supervised", network.train(), task, loss)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        chosen, shift = rng.integers(0, len(image), 4), tuple(rng.integers(-4, 5, 2))
        shown = np.roll(image[chosen], shift, (1, 2)) * rng.uniform(0.85, 1.15)
        shown = shown + 0.05 * rng.standard_normal(shown.shape)
        batch = batch_of(
            task, shown.astype(np.float32), np.roll(label[chosen], shift, (1, 2)).copy()
        )
        optimiser.zero_grad()
        method.losses(batch, step)["segmentation"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def asked(network, task, image, phrases):
    """Phrase -> mask (Z, *S); the encoder sees eight slices once, each phrase only decodes."""
    found = {phrase: [] for phrase in phrases}
    for start in range(0, len(image), 8):
        shown = image[start : start + 8]
        batch = batch_of(task, shown, np.zeros(shown.shape, int))
        pyramid = network.encode(batch)
        for phrase, masks in found.items():
            words = replace(batch.prompts, text=(phrase,) * len(batch))
            logits = network.decode(pyramid, batch.but(prompts=words))[0]
            masks.append((logits[:, 0] > 0).numpy())
    return {phrase: np.concatenate(masks) for phrase, masks in found.items()}


def dice(mask, truth):
    """Dice of two masks, neither of them empty."""
    return round(float(2 * (mask & truth).sum() / (mask.sum() + truth.sum())), 3)


def main():
    """Train, ask, print."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path)
    words.add_argument("--steps", type=int, default=800)
    words.add_argument("--overlapping", action="store_true")
    words.add_argument("--threads", type=int, default=2)
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    task = organs_task(overlapping=given.overlapping)
    image, label = slices(given.data)
    training, held = split(len(image))
    network = registry.build("networks", "sat:widths=12x24x48x96,dim=96,hidden=256", task)
    began = time.process_time()
    learn(network, task, image[training], label[training], given.steps)
    seconds = round(time.process_time() - began)
    truth = {name: label[held] == value for name, value in ORGANS.items()}
    with torch.no_grad():
        network.eval()
        masks = asked(network, task, image[held], (*task.regions, *OTHERS))
    table = {
        phrase: {name: dice(mask, each) for name, each in truth.items()}
        for phrase, mask in masks.items()
    }
    own = {phrase: table[phrase][phrase] for phrase in ORGANS}
    rest = [table[a][b] for a in ORGANS for b in ORGANS if a != b]
    result = {
        "trained_slices": len(training),
        "held_out_slices": len(held),
        "steps": given.steps,
        "cpu_s": seconds,
        "diagonal_mean": round(float(np.mean(list(own.values()))), 3),
        "elsewhere_mean": round(float(np.mean(rest)), 3),
        "elsewhere_max": max(rest),
        "others": {
            phrase: {"organ": organ, "dice": table[phrase][organ], "nearest": list(near)}
            for (phrase, organ), near in zip(OTHERS.items(), network.nearest(list(OTHERS)))
        },
        "dice": table,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
