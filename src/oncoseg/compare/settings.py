"""What the folders of a comparison are, by its protocol: how they are evaluated, and shown beside.

Plain predictions and a truth, truths of several raters, predictions under several conditions, or
models to weigh against the first of them and against what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from oncoseg.compare import conditions
from oncoseg.compare.benchmark import weighed
from oncoseg.compare.burden import burdens
from oncoseg.compare.ranking import Table
from oncoseg.compare.records import Extra
from oncoseg.errors import BadOption
from oncoseg.evaluate import Evaluation, evaluate
from oncoseg.evaluate.rated import ceiling, evaluate_rated, gathered
from oncoseg.protocol import Protocol

Regions = Mapping[str, Sequence[int]] | None


@dataclass(frozen=True)
class Found:
    """Evaluations by algorithm, which of their measures count, and what is shown of them.

    `folders` are those whose predictions are drawn, `truths` what they are drawn beside; `caption`
    says what else is to be known of them.
    """

    evaluations: Mapping[str, Evaluation]
    rules: Protocol
    folders: Mapping[str, Path]
    truths: tuple[Path, ...]
    extras: tuple[Extra, ...] = ()
    caption: str = ""
    priced: Mapping[str, Path] = field(default_factory=dict)


def evaluated(
    folders: Mapping[str, Path],
    reference: Path,
    rules: Protocol,
    asked: Mapping[str, Regions],
    *,
    samples: int,
    seed: int,
    to: Path | None,
    cases: Sequence[str] = (),
) -> Found:
    """Evaluate every folder as the protocol's setting says; raises `BadOption` if it wants all."""
    if cases and rules.setting in {"conditions", "raters"}:
        raise BadOption(f"protocol {rules.name} takes all cases; leave out --cases")

    def each(work: Callable[..., Any]) -> dict[str, Any]:
        return {
            name: work(
                folder,
                reference,
                metrics=rules.metrics,
                regions=asked[name],
                samples=samples,
                seed=seed,
                to=None if to is None else Path(to) / "evaluations" / name,
            )
            for name, folder in folders.items()
        }

    if rules.setting == "conditions":
        names = conditions.conditions(list(folders.values()))
        work = partial(conditions.evaluate_conditions, names=names)
        return _under(each(work), folders, reference, rules)
    if rules.setting == "raters":
        found = Found(each(evaluate_rated), rules, folders, (), priced=folders)
        first = next(iter(folders))
        every = gathered(folders[first], reference, asked[first])
        truths = tuple(reference / rater for rater in every)
        rows = ceiling(every, samples, seed)
        return replace(found, truths=truths, extras=_ceiling(rows, len(every)))
    plain = each(partial(evaluate, cases=cases))
    extras = burdens(plain, rules.burden) if rules.burden else ()
    return Found(plain, rules, folders, (reference,), extras, priced=folders)


def _under(
    found: Mapping[str, conditions.Under],
    folders: Mapping[str, Path],
    reference: Path,
    rules: Protocol,
) -> Found:
    one = next(iter(found.values())).all
    regions = list(dict.fromkeys(row.region for row in one.rows))
    counted = conditions.MEAN if conditions.MEAN in regions else regions[0]
    metrics = tuple(one.metrics)
    ranked = tuple((counted, name) for name in metrics if not name.startswith("full "))
    hard = conditions.hardest(found, rules.metrics[0])
    return Found(
        {name: under.all for name, under in found.items()},
        replace(rules, metrics=metrics, ranked=ranked, regions={}),
        {name: folder / hard for name, folder in folders.items()},
        (reference,),
        (conditions.falls(found, rules.metrics[0]),),
        f"predicted {conditions.words(hard)}, where all are worst",
        {name: folder / conditions.FULL for name, folder in folders.items()},
    )


def _ceiling(rows: Sequence[Mapping[str, Any]], raters: int) -> tuple[Extra, ...]:
    def cell(row: Mapping[str, Any], name: str, places: int = 3) -> str:
        mean, low, high = (f"{value:.{places}f}" for value in row[name])
        return f"{mean} ({low} to {high})"

    text = (
        f"{raters} raters, each beside the others, means over cases with 95 % intervals. What a "
        "rater does not reach on the others is no fault of an algorithm."
    )
    head = (
        "Region",
        "Cases",
        "Dice of two raters",
        "Dice of one with the consensus of the others",
        "Share of drawn voxels in dispute",
        "Deviation of volumes (ml)",
    )
    lines = tuple(
        (
            str(row["region"]),
            str(row["cases"]),
            *(cell(row, name) for name in ("dice", "left_out", "dissensus", "deviation_ml")),
        )
        for row in rows
    )
    return (Extra("How far the raters agree", text, head, lines),) if rows else ()


def beside(
    found: Found,
    table: Table,
    divided: Mapping[str, Mapping[str, str]],
    costs: Mapping[str, Mapping[str, float]],
    *,
    samples: int,
    seed: int,
) -> tuple[Extra, ...]:
    """The tables that a setting adds to the page."""
    if found.rules.setting != "benchmark":
        return found.extras
    return weighed(table, divided, costs, samples=samples, seed=seed)
