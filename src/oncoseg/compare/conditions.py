"""Predictions of one algorithm under several conditions: whole, without modalities, and noisy.

An algorithm's folder holds a folder a condition: `full`; `missing-A+B`, without modalities A and B;
`random25-A+B`, in which 25 % of the voxels of both read nothing; `noise-high`, or any other word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, registry
from oncoseg.compare.records import Extra
from oncoseg.compare.told import minus
from oncoseg.errors import BadData, OncosegError
from oncoseg.evaluate import Evaluation, Row, evaluate

FULL, MEAN = "full", "mean of regions"
ALONE = "No prediction under"
LEVELS = ("low", "middle", "high")
CHANCE = 0.1  # that a modality fails, in the scores called E
NAMED = re.compile(r"(?P<kind>missing|random[0-9.]+|noise)-(?P<words>.+)")


@dataclass(frozen=True)
class Scenario:
    """A score: the mean over conditions with these weights, whose sum is 1.

    `sets` is how many there would be of all sets of modalities, 0 where that is no matter.
    """

    name: str
    weights: Mapping[str, float]
    text: str
    sets: int = 0


@dataclass(frozen=True)
class Under:
    """Evaluations by condition, and of every scenario as if it were a metric."""

    each: Mapping[str, Evaluation]
    all: Evaluation


def evaluate_conditions(
    folder: Path,
    reference: Path,
    *,
    names: Sequence[str],
    metrics: Sequence[str],
    regions: Mapping[str, Sequence[int]] | None = None,
    samples: int = 1000,
    seed: int = 0,
    to: Path | None = None,
) -> Under:
    """Evaluate every condition of `names`, and each scenario case by case.

    A metric `iou` becomes `full iou`, `emm iou` and so on, the weighted mean over conditions in
    each case and region, and in `MEAN` their mean over regions; undefined if any part of it is.
    Under a condition without any prediction every case counts as the worst. Raises `BadData` where
    records tell of other modalities than their folder's name.
    """
    there = [name for name in names if any((folder / name).glob("*"))]
    each = {
        name: evaluate(
            folder / name,
            reference,
            metrics=metrics,
            regions=regions,
            samples=0,
            to=None if to is None else to / name,
        )
        for name in there
    }
    each = {name: each.get(name) or _lost(each[FULL], name) for name in names}
    found = scenarios(names, _modalities(folder, names))
    first = each[FULL]
    described = {
        f"{one.name} {metric}": {**said, "empty": f"{one.text}; {said['empty']}"}
        for one in found
        for metric, said in first.metrics.items()
    }
    rows = [row for one in found for row in _weighed(each, one)]
    notes = _notes(each) + _incomplete(found)
    whole = Evaluation.of(_with_mean(rows), described, notes=notes, samples=samples, seed=seed)
    if to is not None:
        whole.write(to)
    return Under(each, whole)


def conditions(folders: Sequence[Path]) -> list[str]:
    """Names of the conditions in any of the folders, `full` first.

    Raises `BadData` for a folder that is no condition, and without a prediction under `full`.
    """
    found: set[str] = set()
    for folder in folders:
        if not any((folder / FULL).glob("*")):
            cause = "has no folder 'full' of predictions with every modality, to fall from"
            raise BadData(f"{folder}: {cause}; give a folder with one for each condition")
        for path in filter(Path.is_dir, folder.glob("*")):
            if path.name != FULL and not NAMED.fullmatch(path.name):
                kinds = "full, missing-A+B, random25-A+B and noise-high"
                raise BadData(f"{path}: is no condition; name such folders as {kinds}")
            found.add(path.name)
    return sorted(found, key=_order)


def _order(name: str) -> tuple[bool, str, int, str]:
    """`full`, then what is missing, from one modality to many, and levels of noise as they rise."""
    found = NAMED.fullmatch(name)
    if not found:
        return False, "", 0, ""
    words = found["words"]
    kind = {"missing": "1", "noise": "3"}.get(found["kind"], f"2 {found['kind']}")
    level = LEVELS.index(words) if words in LEVELS else len(LEVELS)
    return True, kind, level if kind == "3" else words.count("+"), words


def _lost(full: Evaluation, name: str) -> Evaluation:
    """Every case as the worst there is, of an algorithm that predicted none under a condition."""
    worst = {metric: registry.build("metrics", metric).worst for metric in full.metrics}
    rows = [
        row if row.status == "no truth" else replace(row, value=worst[row.metric], status="missing")
        for row in full.rows
    ]
    note = f"{ALONE} {name}: every case counts as the worst value there."
    return Evaluation.of(rows, full.metrics, notes=(note,), samples=0)


def damaged(name: str) -> frozenset[str]:
    """The modalities that are missing in a condition, wholly or in part."""
    found = NAMED.fullmatch(name)
    if not found or found["kind"] == "noise":
        return frozenset()
    return frozenset(found["words"].split("+"))


def scenarios(names: Sequence[str], modalities: frozenset[str]) -> list[Scenario]:
    """The scores that these conditions give; of sets of modalities `full` is the empty one."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        found = NAMED.fullmatch(name)
        if found:
            kinds.setdefault(found["kind"], []).append(name)
    result = [Scenario(FULL, {FULL: 1.0}, "with every modality as it is")]
    for kind, members in kinds.items():
        if kind == "noise":
            text = f"mean over {', '.join(member.partition('-')[2] for member in members)} noise"
            result.append(Scenario("nm", _equal(members), text))
            continue
        sets = [FULL, *members]
        rate = kind.removeprefix("random")
        short = "emm" if kind == "missing" else f"rmm{rate}"
        what = "missing" if kind == "missing" else f"missing in {rate} % of their voxels"
        every = 2 ** len(modalities) - 1
        text = f"mean over {len(sets)} of {every} sets of modalities {what}"
        result.append(Scenario(f"{short}_avg", _equal(sets), text, every))
        often = f"each modality {what} with a chance of {CHANCE:g}"
        result.append(Scenario(f"{short}_e", expected(sets, len(modalities), CHANCE), often))
    return result


def _equal(names: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(names, 1 / len(names))


def expected(names: Sequence[str], modalities: int, chance: float) -> dict[str, float]:
    """Weights chance^k (1 - chance)^(M - k) of sets of k of M modalities, made to sum to 1."""
    counts = {name: len(damaged(name)) for name in names}
    parts = {n: chance**k * (1 - chance) ** (modalities - k) for n, k in counts.items()}
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def _modalities(folder: Path, names: Sequence[str]) -> frozenset[str]:
    """All there are, by names and records; raises `BadData` where both differ."""
    known = frozenset().union(*(damaged(name) for name in names))
    for name in names:
        for path in (folder / name).glob("*.json"):
            used, missing = _told(path)
            known |= used | missing
            left_out = damaged(name) if name.startswith("missing-") else frozenset()
            if used & left_out or (used and name == FULL and missing):
                which = ", ".join(sorted(used & left_out or missing))
                cause = f"was predicted {'with' if used & left_out else 'without'} {which}"
                raise BadData(f"{path}: {cause}, but its folder is named {name}; rename it")
    return known


def _told(record: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The modalities that a record says were used, and those that were missing."""
    try:
        said: Any = files.read_json(record)
        return frozenset(map(str, said["used"])), frozenset(map(str, said["missing"]))
    except (OncosegError, KeyError, TypeError):
        return frozenset(), frozenset()


def _weighed(each: Mapping[str, Evaluation], one: Scenario) -> list[Row]:
    """Rows of a scenario: a case has the status that it has with every modality."""
    status = {row.case: row.status for row in each[FULL].rows}
    kept: dict[tuple[str, str, str], list[tuple[float, Row]]] = {}
    for name, weight in one.weights.items():
        for row in each[name].rows:
            kept.setdefault((row.case, row.region, row.metric), []).append((weight, row))
    rows = []
    for parts in kept.values():
        total = sum(weight for weight, _ in parts)
        value = sum(weight * row.value for weight, row in parts) / total
        row = parts[0][1]
        known = status.get(row.case, row.status)
        name = f"{one.name} {row.metric}"
        rows.append(replace(row, metric=name, value=float(value), status=known))
    return rows


def _with_mean(rows: Sequence[Row]) -> list[Row]:
    kept: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        kept.setdefault((row.case, row.metric), []).append(row)
    if all(len(same) == 1 for same in kept.values()):
        return list(rows)
    means = [
        replace(same[0], region=MEAN, value=float(np.mean([row.value for row in same])))
        for same in kept.values()
    ]
    return [*means, *rows]


def _notes(each: Mapping[str, Evaluation]) -> tuple[str, ...]:
    """What the evaluations say, once where all conditions say it."""
    said: dict[str, list[str]] = {}
    for name, one in each.items():
        for note in one.notes:
            if "intervals" not in note:
                said.setdefault(note, []).append(name)
    return tuple(
        note if len(names) == len(each) or note.startswith(ALONE) else f"{', '.join(names)}: {note}"
        for note, names in said.items()
    )


def _incomplete(found: Sequence[Scenario]) -> tuple[str, ...]:
    return tuple(
        f"{one.name} is the mean over {len(one.weights)} of {one.sets} sets of modalities: the "
        "others have no folder."
        for one in found
        if one.sets > len(one.weights)
    )


def falls(found: Mapping[str, Under], metric: str) -> Extra:
    """Each condition's mean over regions and cases, and how far it fell from `full`."""
    whole = {name: _mean(one.each[FULL], metric) for name, one in found.items()}
    any_one = next(iter(found.values()))
    rows = []
    for condition in any_one.each:
        cells: list[str] = []
        for name, one in found.items():
            value = _mean(one.each[condition], metric)
            fall = (value - whole[name]) / whole[name] if whole[name] else float("nan")
            told = "" if condition == FULL else f" ({fall:+.0%})"
            cells.append(minus(f"{value:.3f}{told}"))
        rows.append((words(condition), *cells))
    text = (
        f"Mean {metric} over cases and regions under each condition, and the change from that with "
        "every modality."
    )
    return Extra("What each condition costs", text, ("Condition", *found), tuple(rows))


def _mean(one: Evaluation, metric: str) -> float:
    return float(np.mean([s.mean for s in one.summary if s.metric == metric]))


def hardest(found: Mapping[str, Under], metric: str) -> str:
    """The condition in which all algorithms together are worst, of those that all predicted."""
    any_one = next(iter(found.values()))
    sign = -1 if any_one.each[FULL].metrics[metric]["higher"] else 1
    sums = {
        name: sign * sum(_mean(one.each[name], metric) for one in found.values())
        for name in any_one.each
        if all(any(row.status == "ok" for row in one.each[name].rows) for one in found.values())
    }
    return max(sums, key=lambda name: sums[name], default=FULL)


def words(condition: str) -> str:
    """A condition as it is read: without t1, t2."""
    found = NAMED.fullmatch(condition)
    if not found:
        return "with everything"
    named = found["words"].replace("+", ", ")
    if found["kind"] == "noise":
        return f"{named} noise in all"
    rate = found["kind"].removeprefix("random")
    return f"without {named}" if found["kind"] == "missing" else f"{rate} % lost of {named}"
