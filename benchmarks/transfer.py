"""SegBook's protocol on small sets: what a network that was pretrained on another set gains.

    python benchmarks/transfer.py ../shared/data transfer
    python benchmarks/transfer.py ../shared/data transfer_quick --pairs polyp,skin --sizes 5 \
        --seeds 0 --steps 60 --network stunet:width=8 --voxels 9216

STU-Net learns a source once, from all its training patients, then a target: `scratch` at the usual
rate, `fine_tuned` at a tenth of it (as the recipe segbook), `usual_rate` at the usual one. Each set
has its own plan, and the first of five folds of its patients is held out; of the others so many
(`--sizes`, 0 for all) keep their labels, drawn by the seed. All make `--steps` steps. Gain is Dice
over `scratch`, the mean of the regions, paired by held-out case after the mean over seeds, with
95 % intervals (bootstrap of cases), then by modality, target and size as the mean of their gains. A
set that is not there is skipped, and said to be. What is in the folder already is not run again.
Prints JSON and writes transfer.json there. These sets are small, and crops of bodies: figures tell
of this code, not of STU-Net.
"""

import argparse
import json
import platform
import subprocess
from pathlib import Path

import numpy as np

from oncoseg import files
from oncoseg.prepare import prepare
from oncoseg.run import Run
from oncoseg.train import train

HERE = Path(__file__).parent
SETS = {  # folder, modality, what is segmented, labels
    "hippocampus": ("msd_task04_hippocampus", "MR", "structure", {"anterior": 1, "posterior": 2}),
    "sarcoma": ("sts_petctmr", "PET, CT and MR", "lesion", {"tumour": 1}),
    "polyp": ("kvasir_seg_256", "endoscopy", "lesion", {"polyp": 1}),
    "skin": ("isic2017", "dermoscopy", "lesion", {"skin lesion": 1}),
}
PAIRS = [
    *("sarcoma,hippocampus", "hippocampus,sarcoma", "polyp,skin", "skin,polyp"),
    "skin,hippocampus",  # from 2-D to 3-D
]
USUAL = 1e-3
WAYS = {"scratch": USUAL, "fine_tuned": USUAL / 10, "usual_rate": USUAL}


def trained(given, name, word, **options):
    """Train on a set, if it is not done, and give the Dice of each held-out case."""
    folder, _, _, labels = SETS[word]
    store = given.to / "stores" / word
    if not (store / "plan.json").exists():
        prepare(given.data / folder, store, labels=labels, voxels=given.voxels)
    run = Run(
        data=str(given.data / folder),
        to=str(given.to / f"{name}.onco"),
        network=given.network,
        labels=labels,
        minutes=0,
        steps=given.steps,
        voxels=given.voxels,
        batch=2,
        folds=5,
        **options,
    )
    if not Path(run.to).exists():
        train(run, resume=True, store=store)
    cases = files.read_json(run.folder / "validation.json")["cases"]
    return {case: float(np.mean(list(row.values()))) for case, row in cases.items()}


def start(given, source):
    """The model of a source, trained once."""
    trained(given, f"{source}-source", source, rate=USUAL)
    return str(given.to / f"{source}-source.onco")


def gain(scratch, other):
    """Of two tables seed -> case -> Dice: means, and the difference with its interval."""
    cases = sorted(scratch[0])
    pair = [np.array([[run[case] for case in cases] for run in way]) for way in (scratch, other)]
    differ = (pair[1] - pair[0]).mean(0)
    drawn = np.random.default_rng(0).integers(len(cases), size=(10_000, len(cases)))
    low, high = np.quantile(differ[drawn].mean(1), [0.025, 0.975])
    seeds = (pair[1] - pair[0]).mean(1)
    return {
        "dice": round(float(pair[1].mean()), 4),
        "scratch": round(float(pair[0].mean()), 4),
        "gain": round(float(differ.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "of_seeds": [round(float(value), 4) for value in seeds],
        "held_out": len(cases),
    }


def rows_of(given):
    """A row a pair, size and way."""
    for pair in given.pairs:
        source, target = pair.split(",")
        gone = [word for word in (source, target) if not (given.data / SETS[word][0]).is_dir()]
        if gone:
            yield {"pair": pair, "skipped": f"there is no {gone[0]} in {given.data.name}"}
            continue
        for size in given.sizes:
            found = {}
            for way, rate in WAYS.items():
                begun = {} if way == "scratch" else {"start": start(given, source)}
                of = target if way == "scratch" else f"{source}-{target}"
                found[way] = [
                    trained(
                        given,
                        f"{of}-{size}-{way}-{seed}",
                        target,
                        rate=rate,
                        seed=seed,
                        labelled=size,
                        **begun,
                    )
                    for seed in given.seeds
                ]
            _, modality, kind, _ = SETS[target]
            about = {"pair": pair, "modality": modality, "target": kind, "size": size}
            for way in ("fine_tuned", "usual_rate"):
                yield {**about, "way": way, **gain(found["scratch"], found[way])}


def grouped(rows):
    """Mean gain by modality, target and size, of each way."""
    table = {}
    for key in ("modality", "target", "size"):
        groups = {(str(row[key]), row["way"]) for row in rows if "gain" in row}
        for value, way in sorted(groups):
            gains = [r["gain"] for r in rows if (str(r.get(key)), r.get("way")) == (value, way)]
            cell = {"gain": round(float(np.mean(gains)), 4), "pairs": len(gains)}
            table.setdefault(key, {}).setdefault(value, {})[way] = cell
    return table


def main():
    """Run what is not there, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--pairs", nargs="+", default=PAIRS, choices=PAIRS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[5, 0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--network", default="stunet")
    parser.add_argument("--voxels", type=int, default=32**3)
    given = parser.parse_args()
    rows = list(rows_of(given))
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, cwd=HERE, check=True).stdout
    report = {
        "commit": commit.strip(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "settings": {key: getattr(given, key) for key in ("network", "steps", "voxels", "seeds")},
        "rows": rows,
        "mean_gain": grouped(rows),
    }
    files.write_json(given.to / "transfer.json", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
