"""Compare: the predictions of several algorithms against one truth, who is better, how surely.

Comparisons are paired by case and clustered by patient. A case that an algorithm lacks counts as
the worst there is for it, and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oncoseg.blocks import layouts, statistics
from oncoseg.compare.benchmark import COLUMN
from oncoseg.compare.groups import read_groups
from oncoseg.compare.ranking import Pair, Ranking, Table, pairs, ranking
from oncoseg.compare.records import Comparison, Group, Standing
from oncoseg.compare.settings import beside, evaluated
from oncoseg.compare.told import costs, labelled, own_regions
from oncoseg.errors import BadData, BadOption
from oncoseg.evaluate import Evaluation, Row
from oncoseg.protocol import Protocol, names, read_protocol

__all__ = ["Comparison", "Pair", "Protocol", "Ranking", "compare", "names", "read_protocol"]

Rows = Mapping[tuple[str, str, str], Row]


def compare(
    predictions: Sequence[Path],
    reference: Path,
    *,
    protocol: str = "plain",
    metrics: Sequence[str] = (),
    regions: Mapping[str, Sequence[int]] | None = None,
    groups: Path | None = None,
    to: Path | None = None,
    samples: int = 1000,
    seed: int = 0,
    cases: Sequence[str] = (),
    pictures: bool = True,
) -> Comparison:
    """Evaluate every folder of `predictions` against `reference`, test and rank by a protocol.

    An algorithm is named by its folder. `metrics` and `regions` replace those of the protocol,
    after which all of them are ranked. `groups` is a CSV file with the column `case`; each further
    column divides the cases, the first is the one that a protocol averages. With `to`, the page,
    the records and each algorithm's evaluation are written there; a run that was killed goes on.
    Of `cases`, if any are named, those alone count. Without `pictures` the page shows no scan.

    Raises `BadOption` for folders of one name, `UnknownName` for an unknown protocol, `BadData`
    where algorithms have other regions, and whatever `oncoseg.evaluate` raises.
    """
    folders = _named(predictions)
    rules = _changed(read_protocol(protocol), metrics, regions)
    divided = read_groups(groups) if groups else {}
    if rules.aggregation == "groups" and not divided:
        raise BadOption(f"protocol {rules.name} averages over sites; say them with --groups CSV")
    if regions is None:
        rules = replace(rules, regions=labelled(rules, Path(reference)))
    asked = {
        name: dict(regions) if regions is not None else own_regions(folder, rules.regions)
        for name, folder in folders.items()
    }
    seen = evaluated(
        folders, Path(reference), rules, asked, samples=samples, seed=seed, to=to, cases=cases
    )
    evaluations, rules = seen.evaluations, seen.rules
    aligned = _aligned(evaluations, rules)
    table = _table(aligned, _first(evaluations))
    # Predictions under conditions are told of under each.
    notes = [] if rules.setting == "conditions" else _absent(aligned, rules)
    if divided:
        if rules.setting == "benchmark":
            rules = replace(rules, aggregation="groups")
        table, unsaid = _grouped(table, next(iter(divided.values())))
        notes += unsaid
    notes += _undefined(table) + _said(evaluations)
    ranked = _ranked(table, rules)
    order = ranking(ranked, rules, samples=samples, seed=seed)
    paid = costs(folders, seen.priced)
    comparison = Comparison(
        protocol=rules,
        folders={name: str(folder) for name, folder in seen.folders.items()},
        reference=str(reference),
        regions=asked,
        table=table,
        standings=_standings(ranked, order, aligned),
        summaries={name: one.summary for name, one in evaluations.items()},
        statuses={name: _statuses(rows) for name, rows in aligned.items()},
        described={name: dict(said) for name, said in _first(evaluations).metrics.items()},
        ranked=ranked.measures,
        costs=paid,
        tau=(order.tau, order.tau_low),
        pairs=pairs(ranked, rules, samples=samples, seed=seed),
        groups=_divisions(table, {k: v for k, v in divided.items() if k != COLUMN}, samples, seed),
        notes=tuple(dict.fromkeys(notes)),
        samples=samples,
        seed=seed,
        truths=tuple(map(str, seen.truths)),
        extras=beside(seen, table, divided, paid, samples=samples, seed=seed),
        caption=seen.caption,
    )
    if to is not None:
        comparison.write(Path(to), pictures=pictures)
    return comparison


def _named(predictions: Sequence[Path]) -> dict[str, Path]:
    """Folders by their names, which are those of the algorithms."""
    if len(predictions) < 2:
        raise BadOption("give two folders of predictions or more; 'oncoseg evaluate' takes one")
    folders: dict[str, Path] = {}
    for folder in map(Path, predictions):
        name = folder.resolve().name
        if not name:
            raise BadOption(f"{folder} has no name that an algorithm could have; give a folder")
        if name in folders:
            both = f"{folders[name]} and {folder}"
            raise BadOption(f"{both} are both named '{name}', as their algorithms; rename one")
        folders[name] = folder
    return folders


def _changed(
    rules: Protocol, metrics: Sequence[str], regions: Mapping[str, Sequence[int]] | None
) -> Protocol:
    if regions is not None:
        plain = {name: tuple(values) for name, values in regions.items()}
        rules = replace(rules, regions=plain, ranked=())
    return replace(rules, metrics=tuple(metrics), ranked=()) if metrics else rules


def _first(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    return next(iter(evaluations.values()))


def _aligned(evaluations: Mapping[str, Evaluation], rules: Protocol) -> dict[str, Rows]:
    """Each algorithm's rows by case, region and metric, of the cases with a truth.

    Records may have further regions than the protocol, which are left out.

    A truth `case_seg` is named `case` where a prediction says so: then for all algorithms.
    """
    wanted = set(rules.regions)
    regions = {
        name: {row.region for row in one.rows if row.region in (wanted or {row.region})}
        for name, one in evaluations.items()
    }
    (first, known), *others = regions.items()
    for name, found in others:
        if found != known:
            both = f"{first} has {', '.join(sorted(known))}, {name} has {', '.join(sorted(found))}"
            raise BadData(f"algorithms have other regions: {both}; state them (--regions WT=1+2)")
    cases = {row.case for one in evaluations.values() for row in one.rows if row.status == "ok"}
    aligned: dict[str, Rows] = {}
    for name, one in evaluations.items():
        kept = [row for row in one.rows if row.status != "no truth" and row.region in known]
        renamed = [replace(row, case=_case(row.case, cases)) for row in kept]
        aligned[name] = {(row.case, row.region, row.metric): row for row in renamed}
    return aligned


def _case(name: str, known: set[str]) -> str:
    prefix = layouts.parse(name).prefix
    return prefix if name not in known and prefix in known else name


def _table(aligned: Mapping[str, Rows], first: Evaluation) -> Table:
    """Every value; raises `BadData` if one is missing, since every case has a row by rule."""
    keys = sorted({key for rows in aligned.values() for key in rows})
    for name, rows in aligned.items():
        lost = next((key for key in keys if key not in rows), None)
        if lost:
            raise BadData(f"{name}: case {lost[0]} has no value of {lost[2]} in {lost[1]}")
    rows = next(iter(aligned.values()))
    regions = tuple(dict.fromkeys(region for _, region, _ in rows))
    measures = [(region, metric) for region in regions for metric in first.metrics]
    cases = tuple(dict.fromkeys(case for case, _, _ in keys))
    patients = {case: row.patient for (case, _, _), row in rows.items()}
    values = np.array(
        [
            [[one[case, measure[0], measure[1]].value for case in cases] for measure in measures]
            for one in aligned.values()
        ]
    )
    higher = {name: bool(said["higher"]) for name, said in first.metrics.items()}
    return Table(
        tuple(aligned),
        tuple(measures),
        tuple(higher[metric] for _, metric in measures),
        cases,
        tuple(patients[case] for case in cases),
        values,
    )


def _ranked(table: Table, rules: Protocol) -> Table:
    """The measures that count."""
    if not rules.ranked:
        return table
    places = [table.measures.index(pair) for pair in rules.ranked if pair in table.measures]
    return replace(
        table,
        measures=tuple(table.measures[place] for place in places),
        higher=tuple(table.higher[place] for place in places),
        values=table.values[:, places],
    )


def _statuses(rows: Rows) -> dict[str, str]:
    """The status of each case: where some metrics alone are undefined, it was compared."""
    return {
        case: "ok" if row.status.startswith("undefined") else row.status
        for (case, _, _), row in rows.items()
    }


def _absent(aligned: Mapping[str, Rows], rules: Protocol) -> list[str]:
    """Cases that algorithms lack, by name; raises `BadData` if the protocol refuses them."""
    lacking = {
        name: {case for case, status in _statuses(rows).items() if status != "ok"}
        for name, rows in aligned.items()
    }
    nobody = set.intersection(*lacking.values())
    told = []
    if nobody:
        told.append(
            f"No algorithm has a prediction that can be compared for {_some(nobody)}: the worst "
            "value for each; if they were not asked for, give a reference without them."
        )
    for name, cases in lacking.items():
        if cases - nobody:
            told.append(f"{name} lacks {_some(cases - nobody)}, counted as the worst value.")
    if told and rules.missing == "refuse":
        raise BadData(f"protocol {rules.name} takes whole sets alone: {' '.join(told)}")
    return told


def _some(cases: set[str]) -> str:
    listed = ", ".join(sorted(cases)[:12]) + (", ..." if len(cases) > 12 else "")
    return f"{len(cases)} case{'s' if len(cases) > 1 else ''} ({listed})"


def _undefined(table: Table) -> list[str]:
    """Measures whose means are over other cases from algorithm to algorithm."""
    told = []
    for place, (region, metric) in enumerate(table.measures):
        holes = np.isnan(table.values[:, place])
        uneven = holes.any(axis=0) & ~holes.all(axis=0)
        if uneven.any():
            told.append(
                f"{metric} of {region} is undefined for some algorithms in "
                f"{_some({table.cases[index] for index in np.flatnonzero(uneven)})}: their means "
                "are over fewer cases, they are last there in ranks by case, and tests leave the "
                "case out."
            )
    return told


def _said(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """What the evaluations say, but for what is said here; once where all say it."""
    known = ("Without a prediction", "There are no intervals")
    said: dict[str, list[str]] = {}
    for name, one in evaluations.items():
        for note in one.notes:
            if not note.startswith(known):
                said.setdefault(note, []).append(name)
    every = len(evaluations)
    return [
        note if len(names) == every else f"{', '.join(names)}: {note}"
        for note, names in said.items()
    ]


def _grouped(table: Table, column: Mapping[str, str]) -> tuple[Table, list[str]]:
    lost = {case for case in table.cases if case not in column}
    told = [f"The file of groups does not name {_some(lost)}: a group of their own."] * bool(lost)
    return replace(table, groups=tuple(column.get(case, "") for case in table.cases)), told


def _standings(table: Table, order: Ranking, aligned: Mapping[str, Rows]) -> tuple[Standing, ...]:
    """The algorithms, best first."""
    found = []
    for place, name in enumerate(table.algorithms):
        low, high = order.interval(place)
        statuses = list(_statuses(aligned[name]).values())
        shares = [
            float((order.drawn[:, place] == rank).mean()) if len(order.drawn) else float("nan")
            for rank in np.arange(1, len(table.algorithms) + 0.5, 0.5)
        ]
        found.append(
            Standing(
                algorithm=name,
                rank=float(order.ranks[place]),
                score=float(order.scores[place]),
                low=low,
                high=high,
                first=order.first(place),
                shares=tuple(shares),
                missing=statuses.count("missing"),
                failed=len(statuses) - statuses.count("missing") - statuses.count("ok"),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.rank, one.algorithm)))


def _divisions(
    table: Table, divided: Mapping[str, Mapping[str, str]], samples: int, seed: int
) -> tuple[Group, ...]:
    """Means with intervals of every group, algorithm and measure."""
    found = []
    for column, groups in divided.items():
        member = np.array([groups.get(case, "") for case in table.cases])
        for group in sorted(set(member)):
            inside = member == group
            patients = [one for one, here in zip(table.patients, inside) if here]
            for place, name in enumerate(table.algorithms):
                for at, (region, metric) in enumerate(table.measures):
                    values = table.values[place, at][inside]
                    defined = values[np.isfinite(values)]
                    mean = float(defined.mean()) if len(defined) else float("nan")
                    ends = statistics.interval(values, patients, samples=samples, seed=seed)
                    counts = len(defined), len(values) - len(defined)
                    found.append(
                        Group(column, str(group), name, region, metric, mean, *ends, *counts)
                    )
    return tuple(found)
