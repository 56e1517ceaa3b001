"""Predictions against several raters, none of whom is the truth: the scores of CURVAS, and others.

A folder of raters holds one folder of label maps, or one data set, for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks.statistics import interval
from oncoseg.case import Array
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.evaluate import Evaluation, Row, evaluate
from oncoseg.evaluate.curvas import crps, curvas
from oncoseg.evaluate.inputs import Compared, Inputs, failing, gather
from oncoseg.evaluate.probabilities import REMEDY, where
from oncoseg.evaluate.raters import agreement
from oncoseg.evaluate.scheme import Scheme, union
from oncoseg.evaluate.stream import streamed

SCORES: dict[str, dict[str, Any]] = {
    "consensus_dice": {
        "unit": "",
        "higher": True,
        "empty": "1 if no rater and no prediction drew anything, voxels in dispute left out",
    },
    "confidence": {
        "unit": "",
        "higher": True,
        "empty": "undefined where all raters agree on no voxel of the structure, or on none beside",
    },
    "crps": {
        "unit": "ml",
        "higher": False,
        "empty": "the difference of volumes if all raters drew the same volume",
    },
}
EVERY = "every rater"
UNKNOWN = float("nan")


def evaluate_rated(
    predictions: Path,
    raters: Path,
    *,
    metrics: Sequence[str],
    regions: Mapping[str, Sequence[int]] | None = None,
    samples: int = 2000,
    seed: int = 0,
    to: Path | None = None,
) -> Evaluation:
    """Compare every predicted case with all its raters.

    `metrics` are those in `SCORES`, which need probability maps, and any of `oncoseg evaluate`: of
    these the mean over raters. Otherwise as `oncoseg.evaluate`, of which it raises everything, and
    `BadData` where there are fewer than two raters.
    """
    every = gathered(predictions, raters, regions)
    scheme = next(iter(every.values())).scheme
    whole = {name: tuple(values) for name, values in scheme.regions.items()}
    single = [name for name in metrics if name not in SCORES]
    found = [
        evaluate(
            predictions,
            raters / name,
            metrics=single,
            regions=whole,
            samples=0,
            to=None if to is None else to / name,
        )
        for name in every
        if single
    ]
    rows = _averaged(found)
    described = {name: dict(said) for one in found for name, said in one.metrics.items()}
    notes = [note for one in found for note in one.notes if "intervals" not in note]
    asked = [name for name in metrics if name in SCORES]
    if asked:
        _all_mapped(every, asked)
        cases = sorted(set().union(*(one.cases for one in every.values())))
        for more, said in streamed(partial(_scored, every=every, asked=asked), cases, title=EVERY):
            rows += more
            notes += said
    described |= {name: SCORES[name] for name in asked}
    notes += _fewer(every)
    ordered = {name: described[name] for name in metrics}
    result = Evaluation.of(
        rows, ordered, notes=tuple(dict.fromkeys(notes)), samples=samples, seed=seed
    )
    if to is not None:
        result.write(to)
    return result


def gathered(
    predictions: Path, raters: Path, regions: Mapping[str, Sequence[int]] | None
) -> dict[str, Inputs]:
    """Rater -> predictions beside that rater's label maps, all with the same regions."""
    folders = sorted(path for path in Path(raters).glob("*") if path.is_dir())
    if len(folders) < 2:
        there = f"{raters}: holds {len(folders)} folders of label maps"
        raise BadData(f"{there}; give a folder with one for each rater: rater1/, rater2/, ...")
    found = {path.name: gather(Path(predictions), path, regions) for path in folders}
    schemes = [one.scheme for one in found.values()]
    if any(scheme.ignore is not None for scheme in schemes):
        raise BadOption(f"{raters}: has labels to be ignored, which no score of raters knows")
    if any(scheme.regions != schemes[0].regions for scheme in schemes):  # each value is a region
        values = {name: one for scheme in schemes for name, one in scheme.regions.items()}
        given = Scheme.given(dict(sorted(values.items())))
        found = {name: replace(one, scheme=given) for name, one in found.items()}
    return found


def _averaged(found: Sequence[Evaluation]) -> list[Row]:
    """Of each case, region and metric the mean over the raters who drew the case."""
    kept: dict[tuple[str, str, str], list[Row]] = {}
    for one in found:
        for row in one.rows:
            kept.setdefault((row.case, row.region, row.metric), []).append(row)
    rows = []
    for same in kept.values():
        drawn = [row for row in same if row.status != "no truth"] or same
        status = next((row.status for row in drawn if row.status != "ok"), "ok")
        value, predicted, true = (
            float(np.mean([getattr(row, name) for row in drawn]))
            for name in ("value", "predicted_ml", "true_ml")
        )
        first = replace(drawn[0], status=status, value=value)
        rows.append(replace(first, predicted_ml=predicted, true_ml=true))
    return rows


def _all_mapped(every: Mapping[str, Inputs], asked: Sequence[str]) -> None:
    """Raises `BadData` if a prediction has no map of a region."""
    one = next(iter(every.values()))
    for case, path in one.predictions.items():
        for region in one.scheme.regions:
            wanted = where(path, case, region)
            if not wanted.exists():
                raise BadData(f"{wanted}: is not there, but {', '.join(asked)} need it; {REMEDY}")


def _fewer(every: Mapping[str, Inputs]) -> list[str]:
    """Cases that not all raters drew."""
    counts = {
        case: sum(case in one.truths for one in every.values())
        for case in set().union(*(one.truths for one in every.values()))
    }
    few = sorted(case for case, count in counts.items() if count < len(every))
    if not few:
        return []
    listed = ", ".join(few[:12]) + (", ..." if len(few) > 12 else "")
    return [f"{len(few)} cases were not drawn by all {len(every)} raters: {listed}."]


def _scored(
    case: str, *, every: Mapping[str, Inputs], asked: Sequence[str]
) -> tuple[list[Row], list[str]]:
    """The rows of one case, and what is to be said of it."""
    inputs = next(iter(every.values()))
    read = [one.read(case) for one in every.values() if case in one.truths] or [inputs.read(case)]
    failed = next((one for one in read if one.status != "ok"), None)
    if failed is None:
        try:
            return _compared(case, read, inputs, asked), []
        except BadFile as error:  # a probability map
            status, notes = failing(case, str(error))
            failed = replace(read[0], status=status, notes=notes)
    drawn = [one for one in read if one.known and one.status != "no truth"]
    rows = []
    for region in inputs.scheme.regions:
        worst = _worst(region, drawn, inputs) if failed.status != "no truth" else {}
        rows += [
            Row(
                case,
                failed.patient,
                region,
                name,
                worst.get(name, UNKNOWN),
                failed.status,
                predicted_ml=UNKNOWN,
                true_ml=UNKNOWN,
            )
            for name in asked
        ]
    return rows, list(failed.notes)


def _compared(
    case: str, read: Sequence[Compared], inputs: Inputs, asked: Sequence[str]
) -> list[Row]:
    rows = []
    voxel_ml = read[0].grid.voxel_volume / 1000
    for region, members in inputs.scheme.regions.items():
        raters = _drawn(region, read, inputs)
        mask = union(read[0].prediction, members)
        found = curvas(mask, read[0].claimed(region, inputs.scheme)[0], raters, voxel_ml)
        values = {"crps": found.crps_ml, **vars(found)}
        predicted = np.count_nonzero(mask) * voxel_ml
        true = np.count_nonzero(raters) / len(raters) * voxel_ml
        rows += [
            Row(case, read[0].patient, region, name, float(values[name]), "ok", predicted, true)
            for name in asked
        ]
    return rows


def _drawn(region: str, read: Sequence[Compared], inputs: Inputs) -> Array:
    """A region in the raters' label maps (raters, *S)."""
    return np.stack([one.whole(region, inputs.scheme)[0] for one in read])


def _worst(region: str, drawn: Sequence[Compared], inputs: Inputs) -> dict[str, float]:
    """The worst scores there can be: of the volume, those of nothing or of the whole image."""
    values = {"consensus_dice": 0.0, "confidence": 0.0, "crps": float("inf")}
    if drawn:
        voxel_ml = drawn[0].grid.voxel_volume / 1000
        volumes = np.array(list(map(np.count_nonzero, _drawn(region, drawn, inputs)))) * voxel_ml
        ends = (0.0, drawn[0].truth.size * voxel_ml)
        mean, deviation = float(volumes.mean()), float(volumes.std())
        values["crps"] = max(crps(end, mean, deviation) for end in ends)
    return values


def ceiling(every: Mapping[str, Inputs], samples: int, seed: int) -> list[dict[str, Any]]:
    """How far the raters agree in each region, over the cases that two or more of them drew."""
    inputs = next(iter(every.values()))
    cases = sorted(set(inputs.cases) & set(inputs.predictions))
    kept: dict[str, list[dict[str, float]]] = {region: [] for region in inputs.scheme.regions}
    patients: list[str] = []
    work: Callable[[str], Any] = partial(_agreed, every=every)
    for found in streamed(work, cases, title="raters"):
        if found:
            patients.append(found[0])
            for region, values in found[1].items():
                kept[region].append(values)
    return [
        {"region": region, "cases": len(rows), **_means(rows, patients, samples, seed)}
        for region, rows in kept.items()
        if rows
    ]


def _agreed(
    case: str, *, every: Mapping[str, Inputs]
) -> tuple[str, dict[str, dict[str, float]]] | None:
    inputs = next(iter(every.values()))
    read = [one.read(case) for one in every.values() if case in one.truths]
    if len(read) < 2 or any(one.status != "ok" for one in read):
        return None
    found = {}
    for region in inputs.scheme.regions:
        masks = _drawn(region, read, inputs)
        both = agreement(masks)
        drawn, agreed = (int(np.count_nonzero(one)) for one in (masks.any(0), masks.all(0)))
        volumes = masks.reshape(len(masks), -1).sum(axis=1) * read[0].grid.voxel_volume / 1000
        found[region] = {
            "dice": both.dice,
            "left_out": both.left_out,
            "dissensus": 1 - agreed / drawn if drawn else 0.0,
            "deviation_ml": float(volumes.std()),
        }
    return read[0].patient, found


def _means(
    rows: Sequence[Mapping[str, float]], patients: Sequence[str], samples: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Of each score the mean, and its interval over patients."""
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        ends = interval(values, patients, samples=samples, seed=seed)
        found[name] = (float(values.mean()), *ends)
    return found
