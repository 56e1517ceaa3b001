"""Compare queries of active learning on prepared cases, each from the same first boxes.

    python benchmarks/active.py PREPARED --cases 15 --rounds 3 --count 8 --size 12x12x12 --steps 60

PREPARED is what `oncoseg prepare` or a training run made. A fifth of it is held out. Prints a
line of JSON a query and seed: voxels annotated, foreground among them, mean Dice a round, AUBC.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import torch

from oncoseg import files
from oncoseg.annotate import Asking, annotate
from oncoseg.run import Run

QUERIES = ("clasp_pe", "foreground_random", "foreground_random:foreground=0")


def main() -> None:
    """Copy the first cases to a store of their own and play the loop with each query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--queries", nargs="+", default=QUERIES)
    parser.add_argument("--cases", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", default="12x12x12")
    parser.add_argument(
        "--patch", default="24x32x24", help="of the network, in place of the plan's"
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--network", default="unet:width=4")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    words = parser.parse_args()
    torch.set_num_threads(2)
    size = tuple(map(int, words.size.split("x")))
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "store"
        store.mkdir()
        plan = files.read_json(words.prepared / "plan.json")
        plan["task"]["patch"] = list(map(int, words.patch.split("x")))
        files.write_json(store / "plan.json", plan)
        for record in sorted(words.prepared.glob("*/case.json"))[: words.cases]:
            shutil.copytree(record.parent, store / record.parent.name)
        for seed in words.seeds:
            for query in words.queries:
                to = Path(name) / f"{seed} {query.replace(':', ' ')}" / "model.onco"
                run = Run(
                    data=str(store),
                    to=str(to),
                    network=words.network,
                    augmentations=("spatial", "intensity"),
                    minutes=0,
                    steps=words.steps,
                    folds=5,
                    seed=seed,
                    rate=3e-3,
                    average=0.95,
                    precision="f32",
                )
                began = time.monotonic()
                found = annotate(run, Asking(query, words.rounds, words.count, size))
                line = {
                    "query": query,
                    "seed": seed,
                    "voxels": [row["annotated"] for row in found["rounds"]],
                    "foreground": [row["foreground"] for row in found["rounds"]],
                    "dice": [row["mean"] for row in found["rounds"]],
                    "aubc": found["aubc"],
                    "seconds": round(time.monotonic() - began, 1),
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
