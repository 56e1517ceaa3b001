"""Measure whether uncertainty says what it should, on the held-out cases of a training run.

    python benchmarks/uncertainty.py model.onco model.run/held_out.json DATA [--axes 0]

DATA is the data set that the model was trained on. Over random halves of the cases, `temperature`
and `predicted_dice` are taught on one half and tried on the other. Prints JSON: how the true Dice
of the other half follows the expected and the predicted one (Spearman, mean error), how often its
interval holds it and how wide that is; how well entropy finds wrong voxels (AUROC, within 10 mm of
the structures and over the whole scan); whether lesions are right as far as they claim; and what
mirrored views gain (Dice with less Dice without, a case). `--axes` says along which axes the
training mirrored, if the model's card does not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, stats

from oncoseg import files, registry
from oncoseg.blocks.calibration import auroc
from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.case import Array, Case, Prediction
from oncoseg.evaluate import evaluate
from oncoseg.model import Model, open_model
from oncoseg.predict.doubt import MAPS, lesions
from oncoseg.predict.engines import engine
from oncoseg.predict.samples import Samples, axes_of, spreads
from oncoseg.predict.scan import Scan, Segmenter
from oncoseg.predict.soften import after
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case

Pair = tuple[Prediction, Array]
SPLITS = 40


def main() -> None:
    """Predict with and without mirrored views, then teach and try on random halves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--axes", default="")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.8, 0.9])
    words = parser.parse_args()
    model = open_model(words.model)
    if words.axes:
        members = dict(model.members)
        members["card.json"] = json.dumps({**model.card, "mirrored_axes": words.axes}).encode()
        model = replace(model, members=members)
    cases = list(read(model, set(files.read_json(words.held)), words.data))
    plain = [(predicted(model, case), truth) for case, truth in cases]
    print(
        json.dumps(
            {
                "cases": len(cases),
                "predicted_dice": {str(level): halves(plain, level) for level in words.levels},
                "errors": [found(plain, margin) for margin in (10.0, np.inf)],
                "lesions": rated(plain),
                "mirroring": gain(model, cases, plain),
            },
            indent=2,
        )
    )


def read(model: Model, names: set[str], data: Path) -> Any:
    """Held-out cases, with their true label maps on their own grids."""
    for source in find(data).sources:
        if source.case in names:
            case = read_case(source, modalities=model.task.modalities, labels=model.task.labels)
            drawn = next(iter(case.labels.values()))
            yield case, resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)


def predicted(model: Model, case: Case, samples: int = 0) -> Prediction:
    """One case, with maps of doubt."""
    infer = Samples(model, samples) if samples else engine(model, "openvino")
    maps = (*model.maps, *(spreads(model.task) if samples else ()))
    found = Segmenter(model.plan, infer, maps=maps, doubt=True)(Scan.of(case, model.plan))
    return found.but(samples=samples)


def dice(pair: Pair) -> dict[str, float]:
    """Region -> Dice."""
    rows = evaluate(pair[0].label, pair[1], regions=pair[0].task, metrics=("dice",)).means
    return {region: value["dice"] for region, value in rows.items()}


def halves(pairs: list[Pair], level: float) -> dict[str, Any]:
    """What the predicted Dice of one half is worth, learned from the other."""
    true = [dice(pair) for pair in pairs]
    columns: dict[str, list[list[float]]] = {name: [] for name in true[0]}
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(pairs))
        first, others = np.split(order, [len(pairs) // 2])
        held = [pairs[at] for at in first]
        steps = [registry.build("posthoc", "temperature")]
        steps.append(registry.build("posthoc", f"predicted_dice:level={level}"))
        steps[0].fit([steps[0].lesson(*pair) for pair in held])
        calm = [(after(steps[0], one), truth) for one, truth in held]
        steps[1].fit([steps[1].lesson(*pair) for pair in calm])
        for at in others:
            calm = after(steps[0], pairs[at][0])
            expected, told = expected_dice(calm), steps[1](calm).predicted_dice
            for name, one in told.items():
                ends = [one[key] for key in ("value", "low", "high")]
                columns[name].append([true[at][name], expected[name], *ends])
    return {name: summary(np.array(rows)) for name, rows in columns.items() if rows}


def summary(rows: Array) -> dict[str, float]:
    """Of true, expected, predicted, lowest and highest Dice (N, 5)."""
    true, expected, said, low, high = rows.T
    values = {
        "spearman": stats.spearmanr(said, true).statistic,
        "error_expected": np.abs(expected - true).mean(),
        "error_predicted": np.abs(said - true).mean(),
        "covered": np.mean((low <= true) & (true <= high)),
        "width": np.mean(high - low),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def found(pairs: list[Pair], margin: float) -> dict[str, Any]:
    """AUROC of finding wrong voxels by entropy, margin and spread, mean of the cases."""
    rows: dict[str, list[float]] = {}
    for one, truth in pairs:
        there, steps = (one.label > 0) | (truth > 0), one.grid.spacing
        apart = ndimage.distance_transform_edt(~there, steps) if there.any() else 0 * there
        near = apart <= margin
        right = (one.label == truth)[near]
        maps = {name: one.maps[name] for name in MAPS}
        if one.samples:
            maps["spread"] = np.max([one.maps[name] for name in spreads(one.task)], axis=0)
        for name, values in maps.items():
            sure = values[near].astype(np.float32) * (1 if name == "margin" else -1)
            rows.setdefault(name, []).append(auroc(sure, right))
    told = {name: round(float(np.nanmean(values)), 4) for name, values in rows.items()}
    return {"within_mm": str(margin), **told}


def rated(pairs: list[Pair]) -> dict[str, float]:
    """Spearman of lesions' confidence with the share of them that is right, and how many."""
    rows = []
    for one, truth in pairs:
        said, true = one.masks, one.task.masks(truth)
        told = {row["name"]: row["confidence"] for row in lesions(one)}
        for name in one.task.regions:
            pieces, count = ndimage.label(said[name], np.ones((3,) * one.grid.dims))
            sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
            for place, number in enumerate(np.argsort(-sizes, kind="stable"), start=1):
                if f"{name} {place}" in told:
                    right = true[name][pieces == number + 1].mean()
                    rows.append((told[f"{name} {place}"], right))
    confidence, right = np.array(rows).T
    return {
        "lesions": len(rows),
        "spearman": round(float(stats.spearmanr(confidence, right).statistic), 4),
        "mean_confidence": round(float(confidence.mean()), 4),
        "mean_right": round(float(right.mean()), 4),
    }


def gain(model: Model, cases: list[tuple[Case, Array]], plain: list[Pair]) -> dict[str, Any]:
    """Dice of mirrored views less that of one, and how their spread finds wrong voxels."""
    axes = axes_of(model)
    if not axes:
        return {}
    views = [(predicted(model, case, 2 ** len(axes)), truth) for case, truth in cases]
    before, with_views = ([dice(pair) for pair in pairs] for pairs in (plain, views))
    told = {}
    for name in before[0]:
        gained = np.array([b[name] - a[name] for a, b in zip(before, with_views)])
        error = gained.std(ddof=1) / len(gained) ** 0.5
        told[name] = {"mean": round(float(gained.mean()), 4), "error": round(float(error), 4)}
    return {"views": 2 ** len(axes), "gain": told, "errors": found(views, 10.0)}


if __name__ == "__main__":
    main()
