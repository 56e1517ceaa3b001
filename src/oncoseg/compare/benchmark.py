"""Models beside a first one, on data sets like those they learned from and on others, and at cost.

The U-Score weighs accuracy and cost: our reading of U-Bench, whose formula is not in its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from oncoseg.blocks import statistics
from oncoseg.case import Array
from oncoseg.compare.ranking import Table
from oncoseg.compare.records import Extra
from oncoseg.compare.told import KINDS, priced
from oncoseg.errors import BadData

COLUMN = "zero_shot"
ANSWERS = {"yes": True, "no": False}
COSTS = {kind: KINDS[kind] for kind in ("parameters", "flops", "seconds")}
ENDS = (0.1, 0.9)  # quantiles over the algorithms that become 0 and 1
NEEDED = 5  # algorithms, below which nearly each is the worst in something


def weighed(
    table: Table,
    divided: Mapping[str, Mapping[str, str]],
    costs: Mapping[str, Mapping[str, float]],
    *,
    samples: int,
    seed: int,
) -> tuple[Extra, ...]:
    """A table for the data sets that were learned from, and one for those that were not.

    Accuracy is the first metric, averaged over regions, then over the cases of each data set, then
    over data sets. Tests are against the first algorithm, corrected (Holm) within a table.
    """
    metric = table.measures[0][1]
    places = [place for place, (_, one) in enumerate(table.measures) if one == metric]
    values = table.values[:, places].mean(axis=1)
    known = [kind for kind in COSTS if all(kind in costs.get(n, {}) for n in table.algorithms)]
    cost = np.array([[costs[name][kind] for kind in known] for name in table.algorithms])
    found = []
    for heading, inside in _parts(table, divided).items():
        sets = np.array(table.groups or ("",) * len(table.cases))[inside]
        patients = [one for one, here in zip(table.patients, inside) if here]
        rows = _rows(values[:, inside], sets, patients, table, cost, samples, seed)
        cells = zip(rows, (_priced(costs.get(name, {})) for name in table.algorithms))
        text = (
            f"{_counted(sets)}, {inside.sum()} cases. "
            f"Differences are to {table.algorithms[0]}, the first that was given: 95 % interval "
            "and Holm's p over this table, Wilcoxon's test paired by patient. "
            + _said(table, known)
        )
        head = ("Algorithm", f"Mean {metric}", f"To {table.algorithms[0]}", "p", *COSTS.values())
        lines = tuple((*row[:-1], *prices, row[-1]) for row, prices in cells)
        found.append(Extra(heading, text, (*head, "U-Score"), lines))
    return tuple(found)


def _counted(sets: Array) -> str:
    count = len(set(sets.tolist()))
    return "One data set" if count == 1 else f"{count} data sets of the same weight"


def _parts(table: Table, divided: Mapping[str, Mapping[str, str]]) -> dict[str, Array]:
    """Heading -> which cases."""
    if COLUMN not in divided:
        return {"Accuracy and cost": np.ones(len(table.cases), dtype=bool)}
    said = [divided[COLUMN].get(case, "") for case in table.cases]
    for case, word in zip(table.cases, said):
        if word not in ANSWERS:
            raise BadData(
                f"case {case}: its {COLUMN} is {word!r} in the file of groups; say yes or no"
            )
    unseen = np.array([ANSWERS[word] for word in said])
    parts = {"Data sets that were learned from": ~unseen, "Zero-shot: other data sets": unseen}
    return {heading: inside for heading, inside in parts.items() if inside.any()}


def _rows(
    values: Array,
    sets: Array,
    patients: Sequence[str],
    table: Table,
    cost: Array,
    samples: int,
    seed: int,
) -> list[tuple[str, ...]]:
    """Of each algorithm name, mean, difference, p and U-Score."""
    _, member, sizes = np.unique(sets, return_inverse=True, return_counts=True)
    weights = 1 / sizes[member]
    means = np.array([_mean(one, weights) for one in values])
    scores = u_scores(means * (1 if table.higher[0] else -1), cost)
    apart = values - values[0]
    tests = [
        statistics.wilcoxon(np.round(each[np.isfinite(each)], 12))
        for each in (statistics.by_patient(one, patients) for one in apart[1:])
    ]
    drawn = statistics.bootstrap(apart, patients, samples=samples, seed=seed, weights=weights)
    told: list[tuple[str, str]] = [("-", "-")]
    for place, p in enumerate(statistics.holm(tests), start=1):
        low, high = statistics.percentiles(drawn[:, place])
        difference = f"{_mean(apart[place], weights):+.3f} ({low:+.3f} to {high:+.3f})"
        told.append(
            (difference.replace("-", "\N{MINUS SIGN}"), f"{p:.3f}" if p >= 0.001 else "< 0.001")
        )
    return [
        (name, f"{mean:.3f}", *test, "-" if np.isnan(score) else f"{score:.2f}")
        for name, mean, test, score in zip(table.algorithms, means, told, scores)
    ]


def _mean(values: Array, weights: Array) -> float:
    there = np.isfinite(values)
    total = float((weights * there).sum())
    return float((np.nan_to_num(values) * weights).sum() / total) if total else float("nan")


def u_scores(accuracy: Array, cost: Array) -> Array:
    """Accuracy (algorithms,), more is better, and costs (algorithms, kinds) -> scores from 0 to 1.

    Each is brought to 0 at the 10 % and to 1 at the 90 % quantile over the algorithms, costs as
    their negative logarithm. The score is the harmonic mean of accuracy and of that over costs, 0
    where either is. NaN without costs, and of fewer than `NEEDED` algorithms.
    """
    if not cost.size or len(cost) < NEEDED:
        return np.full(len(accuracy), np.nan)
    cheap = _harmonic(np.stack([_scaled(-np.log(column)) for column in cost.T], axis=1))
    return _harmonic(np.stack([_scaled(accuracy), cheap], axis=1))


def _scaled(values: Array) -> Array:
    low, high = np.quantile(values, ENDS)
    if high <= low:
        return np.ones(len(values))
    scaled: Array = np.clip((values - low) / (high - low), 0, 1)
    return scaled


def _harmonic(values: Array) -> Array:
    """Over the last axis; 0 where any is 0."""
    inverse = np.divide(1, values, out=np.full(values.shape, np.inf), where=values > 0)
    mean: Array = values.shape[-1] / inverse.sum(axis=-1)
    return mean


def _priced(held: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(priced(held[kind], kind) if kind in held else "not known" for kind in COSTS)


def _said(table: Table, known: Sequence[str]) -> str:
    if not known:
        return "There is no U-Score: no cost is known of all algorithms."
    if len(table.algorithms) < NEEDED:
        return (
            f"There is no U-Score of fewer than {NEEDED} algorithms: it is relative to the others."
        )
    costs = ", ".join(COSTS[kind] for kind in known)
    return (
        f"The U-Score (our reading) weighs accuracy with {costs}, relative to who is here: who is "
        "worst in anything has 0."
    )
