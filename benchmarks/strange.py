"""Polyp images with a pasted patch of another kind: is MaxQuery's map higher there?

    python benchmarks/strange.py ../shared/data/kvasir_seg_256 ../shared/data/isic2017 \
        ../shared/data/fives_20

MaxQuery networks learn polyps from 120 colonoscopy images (64 px), `grouped` by the method
`query_distribution` and `plain` by supervised learning; into each of the 30 others a square of
16 px is pasted, at the same places for all: of skin lesions, of retinas, or of noise with the mean
and deviation of the image's own channels. `pixels` is the AUROC of pasted against other pixels, of
MaxQuery's map and of one minus the largest probability, both of one network; a U-Net trained as
long stands beside them. `regions` is that of the mean over each pasted square against the mean over
the same place of the image before. Prints JSON.

Found (600 steps, one seed): it is not. AUROC of pixels of skin, retina, noise: MaxQuery's map 0.54,
0.33, 0.64 `grouped` and 0.59, 0.40, 0.64 `plain`; one minus the largest probability of the same
networks 0.65, 0.85, 0.74 and 0.65, 0.83, 0.68. Dice of polyps 0.61 `grouped`, 0.58 the two others.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata

from oncoseg import registry
from oncoseg.case import Batch, Prompts, Task

SIZE, PASTED, HELD = 64, 16, 30
QUERIES = "maxquery:widths=12x24x48x96,features=32,dim=96,heads=4,hidden=256"
NETWORKS = {
    "grouped": (QUERIES, "query_distribution"),
    "plain": (QUERIES, "supervised"),
    "unet": ("unet:width=12,limit=96", "supervised"),
}
TASK = Task(
    "polyps",
    ("red", "green", "blue"),
    {"polyp": 1},
    {"polyp": ("polyp",)},
    (1.0, 1.0),
    (SIZE, SIZE),
    ((2, 2),) * 3,
)


def pictures(folder, size=SIZE):
    """Every picture of a folder (N, 3, size, size) in 0 to 1, sorted by name."""
    found = [
        np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        for path in sorted(folder.iterdir())
    ]
    return np.moveaxis(np.stack(found), 3, 1).astype(np.float32) / 255


def batch_of(image, label):
    """Pictures (B, 3, *S), about 0 in mean, and masks (B, *S) as a batch."""
    image = torch.from_numpy((image - 0.4) / 0.25)
    size = len(image)
    return Batch(
        image=image,
        present=torch.ones_like(image, dtype=torch.bool),
        label=torch.from_numpy(TASK.encode(label)).movedim(0, 1).float(),
        weight=torch.ones(size, 1, SIZE, SIZE),
        labeled=torch.ones(size, dtype=torch.bool),
        annotated=torch.ones(size, 2, dtype=torch.bool),
        domain=torch.zeros(size, dtype=torch.long),
        prompts=Prompts.none(image),
    )


def learn(name, image, label, steps):
    """A network trained on mirrored pictures."""
    torch.manual_seed(0)
    spelled, how = NETWORKS[name]
    network = registry.build("networks", spelled, TASK).train()
    loss = registry.build("losses", "dice_ce", exclusive=True)
    method = registry.build("methods", how, network, TASK, loss)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        chosen = rng.integers(0, len(image), 4)
        axes = tuple(axis for axis in (-1, -2) if rng.random() < 0.5)
        shown, truth = (np.flip(each[chosen], axes).copy() for each in (image, label))
        optimiser.zero_grad()
        torch.stack(list(method.losses(batch_of(shown, truth), step).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return network.eval()


def scores(network, image):
    """Probability of a polyp, one minus the largest probability, and the map if there is one."""
    with torch.no_grad():
        found = network.answer(batch_of(image, np.zeros((len(image), SIZE, SIZE), int)))
    shares = found[:, :2].softmax(dim=1)
    maps = {"max_softmax": 1 - shares.amax(dim=1).numpy()}
    if network.maps:
        maps["maxquery"] = found[:, 2].numpy()
    return shares[:, 1].numpy(), maps


def pasted(image, kind, sources, rng):
    """Pictures with a square of something else, and where it is (N, *S)."""
    image, where = image.copy(), np.zeros((len(image), SIZE, SIZE), bool)
    for item, picture in enumerate(image):
        top, left = rng.integers(4, SIZE - PASTED - 4, 2)
        box = (slice(top, top + PASTED), slice(left, left + PASTED))
        where[item][box] = True
        if kind == "noise":
            mean, deviation = (
                each(picture, axis=(1, 2), keepdims=True) for each in (np.mean, np.std)
            )
            patch = mean + deviation * rng.standard_normal((3, PASTED, PASTED))
        else:
            source = sources[rng.integers(len(sources))]
            middle = (SIZE - PASTED) // 2
            patch = source[:, middle : middle + PASTED, middle : middle + PASTED]
        picture[:, box[0], box[1]] = np.clip(patch, 0, 1)
    return image, where


def auroc(strange, usual):
    """The chance that a strange value is above a usual one, ties half."""
    ranks = rankdata(np.concatenate([strange, usual]))
    total = ranks[: len(strange)].sum() - len(strange) * (len(strange) + 1) / 2
    return round(float(total / (len(strange) * len(usual))), 3)


def main():
    """Train both, paste, score, print."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("polyps", type=Path)
    words.add_argument("skin", type=Path)
    words.add_argument("retina", type=Path)
    words.add_argument("--steps", type=int, default=600)
    words.add_argument("--threads", type=int, default=2)
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    image = pictures(given.polyps / "images")
    label = (pictures(given.polyps / "masks")[:, 0] > 0.5).astype(int)
    kinds = {name: pictures(getattr(given, name) / "images") for name in ("skin", "retina")}
    held, truth = image[-HELD:], label[-HELD:] > 0
    result = {"steps": given.steps, "held_out": HELD, "cpu_s": {}, "dice": {}}
    for name in NETWORKS:
        began = time.process_time()
        network = learn(name, image[:-HELD], label[:-HELD], given.steps)
        result["cpu_s"][name] = round(time.process_time() - began)
        share, clean = scores(network, held)
        mask = share > 0.5
        result["dice"][name] = round(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 3)
        for kind in ("skin", "retina", "noise"):
            changed, where = pasted(held, kind, kinds.get(kind), np.random.default_rng(0))
            _, maps = scores(network, changed)
            for score, values in maps.items():
                before, after = (
                    (each * where).sum((1, 2)) / where.sum((1, 2))
                    for each in (clean[score], values)
                )
                row = result.setdefault(kind, {})
                row[f"{name}: {score}"] = {
                    "pixels": auroc(values[where], values[~where]),
                    "regions": auroc(after, before),
                }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
