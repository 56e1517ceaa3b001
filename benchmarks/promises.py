"""Measure whether a model of all cases keeps what its folds promise, on cases that none ever saw.

    python benchmarks/promises.py DATA --to WORK [--folds 3] [--minutes 2]

A third of the patients, drawn by the seed, is left out of DATA; on the others runs
`oncoseg train --folds`, whose last model learned its temperature, the Dice to predict and how far
volumes can be off from what the folds made of cases they held out. It segments the third. Prints
JSON a region: in what share of cases the intervals hold the true Dice and the true volume, how wide
they are (of the volume: highest by lowest, the median), and how far the predicted Dice is off,
beside the expected Dice after the temperature and that of the same network without steps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats

from oncoseg import results
from oncoseg.blocks.counts import dice
from oncoseg.blocks.sizes import volumes
from oncoseg.case import Source
from oncoseg.model import Model, open_model, taught
from oncoseg.predict import predict
from oncoseg.read import find, read_case
from oncoseg.run import EACH, Run
from oncoseg.train import train
from oncoseg.train.validation import truth_of


def main() -> None:
    """Train on two thirds, predict the rest with the steps and without, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    patients = sorted({source.patient for source in find(words.data).sources if source.labels})
    order = np.random.default_rng(words.seed).permutation(len(patients))
    unseen = {patients[place] for place in order[: len(patients) // 3]}
    part = mirrored(words.data.resolve(), words.to / words.data.name, unseen)
    run = Run(
        str(part),
        str(words.to / "model.onco"),
        folds=words.folds,
        fold=EACH,
        minutes=words.minutes,
        seed=words.seed,
    )
    model = open_model(train(run, resume=True))
    bare = taught(model, [], words.to / "bare.onco")
    cases = [one for one in find(words.data).sources if one.patient in unseen and one.labels]
    names = [one.case for one in cases]
    for each in (bare, model.path):
        predict(each, words.data, to=words.to / each.stem, cases=names)
    found = [compared(source, model, words.to) for source in cases]
    heat = model.posthoc["temperature"].state["temperature"]
    rows = {name: summary([one[name] for one in found]) for name in model.task.regions}
    print(json.dumps({"unseen": len(cases), "temperature": heat, **rows}, indent=2))


def mirrored(data: Path, to: Path, without: set[str]) -> Path:
    """A folder of links to all files of a data set but those of some patients."""
    gone = {
        path.resolve()
        for source in find(data).sources
        if source.patient in without
        for path in (*source.images.values(), *source.labels.values())
    }
    for path in data.rglob("*"):
        link = to / path.relative_to(data)
        if path.is_file() and path.resolve() not in gone and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return to


def compared(source: Source, model: Model, to: Path) -> dict[str, list[float]]:
    """Of one case, region by region: what was said and what is so, in the order of `summary`."""
    case = read_case(source, modalities=model.task.modalities, labels=model.task.labels)
    truth = truth_of(case)
    (_, before), (after, record) = (
        results.load(results.find(to / folder)[source.case]) for folder in ("bare", "model")
    )
    real, size = dice(model.task, after.label, truth), volumes(model.task, truth, after.grid)
    rows = {}
    for name, one in after.predicted_dice.items():
        said = [each["confidence"][name] for each in (before, record)]
        ends = [one[key] for key in ("low", "value", "high")]
        rows[name] = [real[name], *said, *ends, size[name], *after.intervals[name]]
    return rows


def summary(rows: list[list[float]]) -> dict[str, float]:
    """What was promised of a region, and what came true."""
    real, before, after, low, value, high, volume, least, most = np.array(rows).T
    figures = {
        "dice_covered": np.mean((low - 1e-4 <= real) & (real <= high + 1e-4)),
        "dice_width": np.mean(high - low),
        "volume_covered": np.mean((least <= volume) & (volume <= most)),
        "volume_ratio": np.median(most / np.maximum(least, 1e-3)),
        "dice": real.mean(),
        "expected": before.mean(),
        "error_expected": np.abs(before - real).mean(),
        "error_after_temperature": np.abs(after - real).mean(),
        "error_predicted": np.abs(value - real).mean(),
        "spearman": stats.spearmanr(value, real).statistic,
    }
    return {name: round(float(one), 4) for name, one in figures.items()}


if __name__ == "__main__":
    main()
