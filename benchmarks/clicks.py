"""How many simulated clicks held-out pictures need, for both promptable networks.

    python benchmarks/clicks.py DATA --steps 300

DATA holds pictures of 256 pixels with masks of one kind of lesion (Kvasir-SEG, ISIC 2017). A fifth
of the patients is held out; the rest trains each network with `clicks`, at half the resolution
unless told. Prints a line of JSON a network: the figures of `oncoseg clicks` on what was held out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from oncoseg.case import Task
from oncoseg.clicks import clicks
from oncoseg.prepare import Plan, held_out, open_store, prepare
from oncoseg.prepare.plan import Normalisation
from oncoseg.run import Run
from oncoseg.train import train

NETWORKS = (
    "interactive_fcn:network=(unet:width=8)",
    "sam_decoder:encoder=(unet:width=8),width=64",
)
COLOURS = ("red", "green", "blue")


def plan_of(pixels: int) -> Plan:
    """So many pixels a voxel, each way, and the whole picture as the patch."""
    task = Task(
        name="lesions",
        modalities=COLOURS,
        labels={"lesion": 1},
        regions={"lesion": ("lesion",)},
        spacing=(float(pixels),) * 2,
        patch=(256 // pixels,) * 2,
        strides=((2, 2),) * 4,
    )
    return Plan(task, dict.fromkeys(COLOURS, Normalisation()), 8)


def main() -> None:
    """Prepare once, train each network, click on what was held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pixels", type=int, default=2, help="to a voxel, each way")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="more are slower where cores are shared"
    )
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "store"
        plan = plan_of(words.pixels).write(Path(name) / "plan.json")
        prepare(words.data, store, plan=plan)
        held = [case.id for case in held_out(open_store(store), 5, 0)[1]]
        cases = sorted(held)[: words.cases]
        for place, network in enumerate(words.networks):
            run = Run(
                data=str(store),
                to=str(Path(name) / f"{place}.onco"),
                network=network,
                method="clicks",
                augmentations=("spatial", "intensity"),
                minutes=0,
                steps=words.steps,
                batch=8,
                folds=5,
                seed=words.seed,
                rate=3e-3,
                average=0.97,
                precision="f32",
            )
            began = time.monotonic()
            model = train(run)
            seconds = round(time.monotonic() - began, 1)
            line = {
                "network": network,
                "steps": words.steps,
                "pixels": words.pixels,
                "train_s": seconds,
            }
            found = clicks(model, words.data, most=words.clicks, cases=cases).summary()
            print(json.dumps({**line, **found}), flush=True)


if __name__ == "__main__":
    main()
