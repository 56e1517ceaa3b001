"""Measure post-hoc steps on the held-out cases of a training run, fitted to half of them at a time.

    python benchmarks/posthoc.py model.onco model.run/held_out.json DATA

DATA is the data set that the model was trained on. Prints JSON: calibration error and NLL of the
other half before and after temperature scaling, how often conformal intervals hold the true volume
and how wide they are, the same of ratios of regions by both rules and by the noise of voxels alone,
and Dice before and after keeping the largest pieces; means over the splits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from oncoseg import files, registry
from oncoseg.blocks.ratio_estimator import shares
from oncoseg.blocks.ratio_estimator import sizes as counted
from oncoseg.blocks.sizes import sizes
from oncoseg.case import Array, Prediction
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict import segment
from oncoseg.predict.engines import engine
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case

Pair = tuple[Prediction, Array]
SPLITS = 20


def main() -> None:
    """Predict once, then fit and measure on random halves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("data", type=Path)
    words = parser.parse_args()
    pairs = predicted(words.model, set(files.read_json(words.held)), words.data)
    halves = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(pairs))
        middle = len(pairs) // 2
        halves.append(tuple([pairs[at] for at in part] for part in np.split(order, [middle])))
    found = {
        "cases": len(pairs),
        "temperature": heat(*halves[0]),
        "conformal": {str(level): cover(halves, level) for level in (0.5, 0.8, 0.9)},
        "care_ratio_ci": {str(level): ratios(halves, level) for level in (0.8, 0.9)},
        "largest_component": largest(pairs),
    }
    print(json.dumps(found, indent=2))


def predicted(model: Path, names: set[str], data: Path) -> list[Pair]:
    """Held-out cases on their own grids, with their true label maps."""
    opened = open_model(model)
    infer, task = engine(opened, "openvino"), opened.task
    pairs = []
    for source in find(data).sources:
        if source.case in names:
            case = read_case(source, modalities=task.modalities, labels=task.labels)
            drawn = next(iter(case.labels.values()))
            truth = resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)
            pairs.append((segment(case, opened.plan, infer), truth))
    return pairs


def heat(fitted: list[Pair], others: list[Pair]) -> dict[str, float]:
    """Temperature, and ECE near the structures (15 bins, all regions) before and after."""
    step = registry.build("posthoc", "temperature")
    step.fit([step.lesson(*pair) for pair in fitted])
    return {
        "temperature": step.state["temperature"],
        "ece": ece(others),
        "ece_after": ece([(step(one), truth) for one, truth in others]),
    }


def ece(pairs: list[Pair], bins: int = 15) -> float:
    """Expected calibration error of voxels whose probability is between 0.01 and 0.99."""
    said = np.concatenate([one.probability.astype(float).ravel() for one, _ in pairs])
    true = np.concatenate(
        [np.stack(list(one.task.masks(truth).values())).ravel() for one, truth in pairs]
    )
    unsure = (said > 0.01) & (said < 0.99)
    place = np.minimum((said[unsure] * bins).astype(int), bins - 1)
    gap = np.bincount(place, said[unsure] - true[unsure], minlength=bins)
    return round(float(np.abs(gap).sum() / unsure.sum()), 4)


def cover(halves: list[tuple[list[Pair], ...]], level: float) -> dict[str, float]:
    """Share of true volumes inside their interval, and its mean width over the volume."""
    inside, width = [], []
    for fitted, others in halves:
        step = registry.build("posthoc", f"conformal:level={level}")
        step.fit([step.lesson(*pair) for pair in fitted])
        for one, truth in others:
            true = sizes(one.task.masks(truth), one.grid)
            for region, (low, high) in step(one).intervals.items():
                inside.append(low <= true[region] <= high)
                width.append((high - low) / max(true[region], 1e-3))
    return {"coverage": round(float(np.mean(inside)), 4), "width": round(float(np.mean(width)), 4)}


def ratios(halves: list[tuple[list[Pair], ...]], level: float) -> dict[str, dict[str, float]]:
    """Share of true ratios inside their interval, and its mean width, by how it is made."""
    found: dict[str, dict[str, float]] = {}
    for name, options in (("ratio", ""), ("volumes", ",volumes=true"), ("voxels", "")):
        inside, width, wrong = [], [], []
        for fitted, others in halves:
            step = registry.build("posthoc", f"care_ratio_ci:level={level}{options}")
            step.fit([step.lesson(*pair) for pair in fitted])
            if name == "voxels":  # as if probabilities were calibrated
                step.state["errors"] = {key: [0.0, 0.0] for key in step.state["errors"]}
            for one, truth in others:
                true, given = counted(one, truth), step(one).ratios
                for share in shares(one.task):
                    said = given.get(share.name)
                    whole = sum(true[label] for label in share.outer)
                    if said and whole:
                        value = sum(true[label] for label in share.inner) / whole
                        inside.append(said["low"] <= value <= said["high"])
                        width.append(said["high"] - said["low"])
                        wrong.append(abs(said["value"] - value))
        made = {"coverage": inside, "width": width, "error": wrong}
        found[name] = {key: round(float(np.mean(values)), 4) for key, values in made.items()}
    return found


def largest(pairs: list[Pair]) -> dict[str, float]:
    """Mean Dice before and after, and in how many cases something was removed."""
    step = registry.build("posthoc", "largest_component")
    after = [(step(one), truth) for one, truth in pairs]
    changed = sum(bool(one.notes[len(old.notes) :]) for (one, _), (old, _) in zip(after, pairs))
    return {"dice": dice(pairs), "dice_after": dice(after), "changed": changed}


def dice(pairs: list[Pair]) -> float:
    """Mean over cases and regions."""
    rows = [
        evaluate(one.label, truth, regions=one.task, metrics=("dice",)).means
        for one, truth in pairs
    ]
    return round(float(np.mean([row["dice"] for found in rows for row in found.values()])), 4)


if __name__ == "__main__":
    main()
