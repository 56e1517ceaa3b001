"""Who is first: scores by a protocol's scheme, and how firmly the ranking stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from oncoseg.blocks import statistics
from oncoseg.case import Array
from oncoseg.protocol import Protocol

ALPHA = 0.05
FLIPPED = 10000


@dataclass(frozen=True)
class Table:
    """What is ranked: values (algorithms, measures, cases); NaN is undefined.

    A measure is a region and a metric; `groups` (cases,) are used where a protocol averages them.
    """

    algorithms: tuple[str, ...]
    measures: tuple[tuple[str, str], ...]
    higher: tuple[bool, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    values: Array
    groups: tuple[str, ...] = ()

    def weights(self, protocol: Protocol) -> Array:
        """Of each case (cases,): 1, or one over the size of its group."""
        if protocol.aggregation != "groups":
            return np.ones(len(self.cases))
        _, member, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        weights: Array = 1 / sizes[member]
        return weights


@dataclass(frozen=True)
class Ranking:
    """Scores and ranks of the algorithms, less is better, and ranks (samples, algorithms) drawn.

    `tau` is the mean of Kendall's tau between the ranking and those drawn, `tau_low` what 95 % of
    them reach.
    """

    scores: Array
    ranks: Array
    drawn: Array
    tau: float
    tau_low: float

    def interval(self, place: int) -> tuple[float, float]:
        """The middle 95 % of an algorithm's ranks."""
        return statistics.percentiles(self.drawn[:, place])

    def first(self, place: int) -> float:
        """The share of samples in which an algorithm is first, alone or with others."""
        if not len(self.drawn):
            return float("nan")
        return float((self.drawn[:, place] == self.drawn.min(axis=1)).mean())


@dataclass(frozen=True)
class Pair:
    """Two algorithms in one measure, over the patients for whom both are defined.

    `difference` is the mean over cases of the first minus the second with its interval, `shift` the
    Hodges-Lehmann estimate over patients with its own; `effect` (rank-biserial) and `d` (Cohen's)
    are above 0 where the first is better. `least` is the smallest `holm` that so few could give.
    """

    first: str
    second: str
    region: str
    metric: str
    cases: int
    patients: int
    difference: float
    low: float
    high: float
    shift: float
    shift_low: float
    shift_high: float
    effect: float
    d: float
    p: float
    holm: float
    least: float

    @property
    def significant(self) -> bool:
        """Whether Holm's p is below 0.05."""
        return self.holm < ALPHA

    @property
    def better(self) -> str:
        """Who is significantly better; nobody ("") mostly means that too few were compared."""
        if not self.significant or self.effect == 0:
            return ""
        return self.first if self.effect > 0 else self.second


def ranking(table: Table, protocol: Protocol, *, samples: int, seed: int) -> Ranking:
    """Rank by the protocol's scheme, and again in each bootstrap sample of patients."""
    makers = {
        "rank-then-aggregate": _by_ranks,
        "aggregate-then-rank": _by_means,
        "significance": _by_wins,
    }
    enough = len(set(table.patients)) > 1
    scores, drawn = makers[protocol.scheme](table, protocol, samples if enough else 0, seed)
    ranks = statistics.rank(_even(scores), higher=False)
    again = statistics.rank(_even(drawn).T, higher=False).T
    tau = statistics.kendall_tau(ranks, again)
    tau = tau[np.isfinite(tau)]
    mean, low = (float(tau.mean()), float(np.percentile(tau, 5))) if tau.size else (np.nan,) * 2
    return Ranking(scores, ranks, again, mean, low)


def _even(scores: Array) -> Array:
    """Scores that differ by rounding alone are the same."""
    return np.round(scores, 9)


def _by_ranks(table: Table, protocol: Protocol, samples: int, seed: int) -> tuple[Array, Array]:
    """Mean rank over measures in each case, then over cases."""
    ranks = np.stack(
        [
            statistics.rank(table.values[:, place], higher=higher)
            for place, higher in enumerate(table.higher)
        ]
    )
    there = np.isfinite(ranks).sum(axis=0)
    sums = np.nan_to_num(ranks).sum(axis=0)
    mean = np.divide(sums, there, out=np.full(sums.shape, np.nan), where=there > 0)
    weights = table.weights(protocol)
    drawn = statistics.bootstrap(mean, table.patients, samples=samples, seed=seed, weights=weights)
    return _mean(mean, weights), drawn


def _by_means(table: Table, protocol: Protocol, samples: int, seed: int) -> tuple[Array, Array]:
    """Ranks of means, of each measure, or of each metric's mean over regions; then their mean."""
    weights = table.weights(protocol)
    means = _mean(table.values, weights)[None]
    drawn = statistics.bootstrap(
        table.values, table.patients, samples=samples, seed=seed, weights=weights
    )
    higher = list(table.higher)
    every = np.concatenate([means, drawn])  # (1 + samples, algorithms, measures)
    if protocol.aggregation == "regions":
        kinds = [metric.partition(":")[0] for _, metric in table.measures]
        names = list(dict.fromkeys(kinds))
        higher = [table.higher[kinds.index(name)] for name in names]
        pools = [[kind == name for kind in kinds] for name in names]
        every = np.stack([every[:, :, pool].mean(axis=2) for pool in pools], axis=2)
    ranks = [
        statistics.rank(_even(every[:, :, place]).T, higher=up).T for place, up in enumerate(higher)
    ]
    scores = np.mean(ranks, axis=0)
    return scores[0], scores[1:]


def _by_wins(table: Table, protocol: Protocol, samples: int, seed: int) -> tuple[Array, Array]:
    """Ranks of how many others each beats significantly, averaged over measures."""
    values = statistics.by_patient(table.values, table.patients)
    drawn = statistics.draws(values.shape[-1], samples, seed)
    here, again = [], []
    for place, higher in enumerate(table.higher):
        wins = statistics.beaten(values[:, place], higher=higher, alpha=ALPHA)
        here.append(statistics.rank(wins, higher=True))
        wins = statistics.beaten_in(values[:, place], drawn, higher=higher, alpha=ALPHA)
        again.append(statistics.rank(wins.T, higher=True).T)
    return np.mean(here, axis=0), np.mean(again, axis=0)


def _mean(values: Array, weights: Array) -> Array:
    """Weighted means of values (..., cases); NaN is left out."""
    each = np.isfinite(values) * weights
    sums, sizes = (np.nan_to_num(values) * each).sum(axis=-1), each.sum(axis=-1)
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)


def pairs(table: Table, protocol: Protocol, *, samples: int, seed: int) -> tuple[Pair, ...]:
    """Every two algorithms in every measure; Holm's correction is over all of them."""
    found = [
        _pair(table, protocol, (one, other), place, samples, seed)
        for place in range(len(table.measures))
        for one, other in combinations(range(len(table.algorithms)), 2)
    ]
    adjusted = statistics.holm([pair["p"] for pair in found])
    return tuple(
        Pair(**pair, holm=holm, least=_least(pair["patients"], len(found), protocol))
        for pair, holm in zip(found, adjusted)
    )


def _least(patients: int, tests: int, protocol: Protocol) -> float:
    drawn = protocol.test == "permutation" and patients > statistics.FLIPS
    return min(1.0, tests * (1 / (1 + FLIPPED) if drawn else statistics.least_p(patients)))


def _pair(
    table: Table, protocol: Protocol, two: Sequence[int], place: int, samples: int, seed: int
) -> dict[str, Any]:
    one, other = two
    region, metric = table.measures[place]
    sign = 1 if table.higher[place] else -1
    apart = table.values[one, place] - table.values[other, place]
    each = statistics.by_patient(apart, table.patients)
    each = np.round(each[np.isfinite(each)], 12)  # what differs by rounding alone is equal
    low, high = statistics.interval(apart, table.patients, samples=samples, seed=seed)
    shift, shift_low, shift_high = statistics.hodges_lehmann(each)
    defined = apart[np.isfinite(apart)]
    permuted = protocol.test == "permutation"
    return {
        "first": table.algorithms[one],
        "second": table.algorithms[other],
        "region": region,
        "metric": metric,
        "cases": len(defined),
        "patients": len(each),
        "difference": float(defined.mean()) if len(defined) else float("nan"),
        "low": low,
        "high": high,
        "shift": shift,
        "shift_low": shift_low,
        "shift_high": shift_high,
        "effect": sign * statistics.rank_biserial(each),
        "d": sign * statistics.cohen_d(each),
        "p": statistics.permutation(each, samples=FLIPPED, seed=seed)
        if permuted
        else statistics.wilcoxon(each),
    }
