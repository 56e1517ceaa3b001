"""Dice after each of ten simulated clicks on held-out pictures, for both promptable networks.

    python benchmarks/clicks.py DATA --steps 300

DATA holds pictures of 256 pixels with masks of one kind of lesion (Kvasir-SEG, ISIC 2017). A fifth
of the patients is held out; the rest trains each network with `clicks`, at half the resolution
unless told. Clicks go to the deepest voxel of the larger error, on the scan's own grid. Prints a
line of JSON a network: mean Dice a click, NoC at 0.85 and 0.90 (ten where it is never reached) and
the share that never reaches it, median seconds to encode and to click.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from oncoseg.blocks.clicks import clicks_needed, dice_curve
from oncoseg.case import Case, Task
from oncoseg.model import open_model
from oncoseg.prepare import Plan, held_out, open_store, prepare
from oncoseg.prepare.plan import Normalisation
from oncoseg.prompt import Session
from oncoseg.read import find, read_case
from oncoseg.run import Run
from oncoseg.train import train

NETWORKS = (
    "interactive_fcn:network=(unet:width=8)",
    "sam_decoder:encoder=(unet:width=8),width=64",
)
COLOURS = ("red", "green", "blue")
CLICKS = 10
GOALS = (0.85, 0.9)


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


def measure(model: Path, cases: list[Case]) -> dict[str, object]:
    """Curves of every case, and how long encoding and clicking take."""
    opened, curves, encode, click = open_model(model), [], [], []
    for case in cases:
        session = Session(opened, case)
        truth = next(iter(case.labels.values())).array > 0
        began = time.perf_counter()
        session.network.encode(session._batch((0, 0)))
        encode.append(time.perf_counter() - began)
        began = time.perf_counter()
        curves.append(dice_curve(session, truth, CLICKS))
        click.append((time.perf_counter() - began) / CLICKS)
    found: dict[str, object] = {
        "cases": len(cases),
        "dice": [round(float(value), 4) for value in np.mean(curves, axis=0)],
        "encode_s": round(statistics.median(encode), 4),
        "click_s": round(statistics.median(click), 4),
    }
    for goal in GOALS:
        needed = [clicks_needed(curve, goal) for curve in curves]
        never = sum(max(curve) < goal for curve in curves)
        found[f"noc{goal * 100:.0f}"] = round(float(np.mean(needed)), 2)
        found[f"never{goal * 100:.0f}"] = round(never / len(curves), 3)
    return found


def main() -> None:
    """Prepare once, train each network, click on what was held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pixels", type=int, default=2, help="to a voxel, each way")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="more are slower where cores are shared"
    )
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    sources = find(words.data).sources
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "store"
        plan = plan_of(words.pixels).write(Path(name) / "plan.json")
        prepare(words.data, store, plan=plan)
        held = {case.id for case in held_out(open_store(store), 5, 0)[1]}
        cases = [
            read_case(source, modalities=COLOURS, labels={"lesion": 1})
            for source in sources
            if source.case in held
        ][: words.cases]
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
            print(json.dumps({**line, **measure(model, cases)}), flush=True)


if __name__ == "__main__":
    main()
