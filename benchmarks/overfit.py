"""Can each network learn four cases by heart? One that cannot is mistaken, or its training is.

    python benchmarks/overfit.py DATA --to W
    python benchmarks/overfit.py DATA --to W --networks transunet att_swin_unet --steps 600
    python benchmarks/overfit.py HIPPOCAMPUS --to W --labels anterior=1,posterior=2

A network that falls behind others in `oncoseg benchmark` may be a mistake, or want more cases or
more time than it had. This tells the first from the rest: the four first cases (pictures are made
small), no augmentation, no case held out, and then Dice on those four cases. Prints a line of JSON
a network, in W/overfit.jsonl; one that is there is not repeated.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image

from oncoseg import registry
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.run import Run
from oncoseg.train import train

CASES, SIDE, VOXELS = 4, 96, 32**3
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".bmp")
DRAWN = ("masks", "labels", "instances")  # folders whose values are no shades


def few(data, to):
    """A data set of the first cases of one; of pictures with `SIDE` pixels at the most."""
    if to.exists():
        return to
    made = to.with_name(to.name + ".part")
    shutil.rmtree(made, ignore_errors=True)
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        (made / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:CASES]:
            if path.suffix.lower() in PICTURES:
                small(path, made / folder.name, drawn=folder.name in DRAWN)
            else:
                shutil.copy(path, made / folder.name)
    return made.rename(to)


def small(path, to, *, drawn):
    """A picture of so many pixels a side at the most."""
    picture = Image.open(path)
    size = [round(side * SIDE / max(picture.size)) for side in picture.size]
    how = Image.Resampling.NEAREST if drawn else Image.Resampling.BOX
    picture.resize(size, how).save((to / path.stem).with_suffix(".png"))


def learned(network, data, to, steps, labels):
    """Dice of each case it was trained on, and what it took."""
    model = to / f"{network}.onco"
    run = Run(
        data=str(data),
        to=str(model),
        network=network,
        steps=steps,
        minutes=0,
        augmentations=(),
        average=0.9,
        voxels=SIDE**2 if any(data.glob("*/*.png")) else VOXELS,
        labels=labels,
        device="cpu",
    )
    began = time.monotonic()
    train(run, resume=model.with_suffix(".run").exists())
    took = time.monotonic() - began
    predict(model, data, to=to / "predictions" / network, engine="torch")
    task = open_model(model).task
    found = evaluate(to / "predictions" / network, data, metrics=("dice",), regions=task)
    dice = {row.region: {} for row in found.rows}
    for row in found.rows:
        dice[row.region][row.case] = round(row.value, 3)
    mean = round(float(np.mean([list(values.values()) for values in dice.values()])), 3)
    shutil.rmtree(model.with_suffix(".run"))
    model.unlink()
    return {"network": network, "dice": dice, "mean": mean, "seconds": round(took, 1)}


def main():
    """Each network in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=registry.names("networks"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--labels", default="")
    asked = parser.parse_args()
    labels = dict(pair.split("=") for pair in asked.labels.split(",") if pair)
    labels = {name: int(value) for name, value in labels.items()}
    asked.to.mkdir(parents=True, exist_ok=True)
    data, kept = few(asked.data, asked.to / "data"), asked.to / "overfit.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    done = {json.loads(line)["network"] for line in lines}
    for network in asked.networks:
        if network in done:
            continue
        row = learned(network, data, asked.to, asked.steps, labels)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
