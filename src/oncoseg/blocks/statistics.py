"""Statistics of paired comparisons: bootstrap over patients, tests, effect sizes, rankings.

Differences are taken case by case. Cases of one patient are not independent, so tests take the mean
difference of each patient, and the bootstrap draws patients with all their cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from scipy import special

from oncoseg.case import Array

EXACT = 100  # patients up to which the null distribution of the signed-rank sum is counted out
FLIPS = 16  # patients up to which all sign flips are tried
PIECE = 1 << 22  # numbers held at once while drawing


def clusters(patients: Sequence[str]) -> tuple[Array, int]:
    """The number of each case's patient (cases,), and how many patients there are."""
    names, member = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return member.reshape(-1), len(names)


def draws(count: int, samples: int, seed: int) -> Array:
    """How often each patient is in each bootstrap sample (samples, count)."""
    drawn = np.random.default_rng(seed).integers(count, size=(samples, count))
    places = (drawn + count * np.arange(samples)[:, None]).ravel()
    return np.bincount(places, minlength=samples * count).reshape(samples, count)


def bootstrap(
    values: Array,
    patients: Sequence[str],
    *,
    samples: int,
    seed: int,
    weights: Array | None = None,
) -> Array:
    """Means of values (..., cases), drawing patients with all their cases -> (samples, ...).

    NaN is left out of a mean, as undefined values are; a sample without any value is NaN. The same
    patients, samples and seed draw the same, so that means of several algorithms stay paired.
    Cases may have `weights` (cases,).
    """
    member, count = clusters(patients)
    flat = np.atleast_2d(np.asarray(values, dtype=float)).reshape(-1, len(member))
    each = np.isfinite(flat) * (1.0 if weights is None else weights)
    sums, sizes = np.zeros((2, len(flat), count))
    np.add.at(sums.T, member, (np.nan_to_num(flat) * each).T)
    np.add.at(sizes.T, member, each.T)
    generator = np.random.default_rng(seed)
    means = np.full((samples, len(flat)), np.nan)
    step = max(1, PIECE // (count * len(flat)))
    for start in range(0, samples, step):
        piece = means[start : start + step]
        drawn = generator.integers(count, size=(len(piece), count))
        total, number = sums[:, drawn].sum(-1).T, sizes[:, drawn].sum(-1).T
        np.divide(total, number, out=piece, where=number > 0)
    return means.reshape(samples, *np.shape(values)[:-1])


def percentiles(means: Array, level: float = 95) -> tuple[float, float]:
    """The middle `level` percent of bootstrap results; NaN without any."""
    finite = means[np.isfinite(means)]
    if not finite.size:
        return float("nan"), float("nan")
    tail = (100 - level) / 2
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)


def interval(
    values: Array, patients: Sequence[str], *, samples: int, seed: int, level: float = 95
) -> tuple[float, float]:
    """The interval of a mean of values (cases,), drawing patients with all their cases.

    Percentiles of `samples` means; the same seed gives the same. NaN for fewer than two patients.
    """
    if len(set(patients)) < 2 or samples < 2:
        return float("nan"), float("nan")
    return percentiles(bootstrap(values, patients, samples=samples, seed=seed), level)


def by_patient(values: Array, patients: Sequence[str]) -> Array:
    """Means of values (..., cases) within each patient -> (..., patients).

    NaN is left out, patients with nothing else are NaN.
    """
    member, count = clusters(patients)
    there = np.isfinite(values)
    shape = (*np.shape(values)[:-1], count)
    sums, sizes = np.zeros(shape), np.zeros(shape)
    np.add.at(np.moveaxis(sums, -1, 0), member, np.moveaxis(np.where(there, values, 0), -1, 0))
    np.add.at(np.moveaxis(sizes, -1, 0), member, np.moveaxis(there.astype(float), -1, 0))
    return np.divide(sums, sizes, out=np.full(shape, np.nan), where=sizes > 0)


def midranks(values: Array) -> tuple[Array, Array]:
    """Ranks of values (..., n) from 1 for the smallest, equals share their mean; and how many do.

    What `scipy.stats` has takes a second to import, which is longer than most evaluations.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    begins = np.ones(values.shape, dtype=bool)
    begins[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    ends = np.roll(begins, -1, axis=-1)
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=-1)
    after = np.where(ends, place, values.shape[-1])[..., ::-1]
    last = np.minimum.accumulate(after, axis=-1)[..., ::-1]
    ranks, tied = np.empty(values.shape), np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    np.put_along_axis(tied, order, last - first + 1.0, axis=-1)
    return ranks, tied


def signed_ranks(differences: Array) -> tuple[Array, Array, Array, Array]:
    """Ranks of the sizes of differences (..., n), their sums W+ and W-, and how many there are.

    Zeros are dropped (Wilcoxon's rule): their rank is 0. Equal sizes share their mean rank.
    """
    sizes = np.abs(differences)
    zero = sizes == 0
    dropped = zero.sum(-1, keepdims=True)
    ranks = np.where(zero, 0.0, midranks(sizes)[0] - dropped)
    up = np.where(differences > 0, ranks, 0).sum(-1)
    down = np.where(differences < 0, ranks, 0).sum(-1)
    return ranks, up, down, (~zero).sum(-1)


def wilcoxon(differences: Array, *, alternative: str = "two-sided") -> float:
    """The p of the signed-rank test that differences (n,) lie around 0; 1 if all are 0.

    `alternative` may be "greater" (than 0). Exact, also with ties, up to 100 differences that are
    not 0; beyond by the normal distribution, corrected for ties.
    """
    values = np.asarray(differences, dtype=float)
    values = values[np.isfinite(values)]
    ranks, up, down, number = signed_ranks(values)
    if number == 0:
        return 1.0
    if number > EXACT:
        apart = float(_standard(values, np.ones((1, len(values)), dtype=int))[0])
        greater, less = float(special.ndtr(-apart)), float(special.ndtr(apart))
    else:
        tail = _tail(ranks[ranks > 0])
        greater, less = (float(tail[round(2 * float(total))]) for total in (up, down))
    return greater if alternative == "greater" else min(1.0, 2 * min(greater, less))


def _tail(ranks: Array) -> Array:
    """P(sum of ranks with random signs >= s / 2) for s from 0 on; ranks may end in .5."""
    doubled = np.round(2 * ranks).astype(int)
    share = np.zeros(doubled.sum() + 1)
    share[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(share)
        moved[rank:] = share[: len(share) - rank]
        share = (share + moved) / 2
    return np.minimum(1.0, share[::-1].cumsum()[::-1])


def _standard(differences: Array, times: Array) -> Array:
    """The signed-rank sum of differences (n,) in standard deviations, corrected for ties.

    Each difference is there `times` (samples, n) -> (samples,). It is sorted but once.
    """
    there = np.flatnonzero(np.nan_to_num(differences))
    order = there[np.argsort(np.abs(differences[there]), kind="stable")]
    if not len(order):
        return np.zeros(len(times))
    sizes = np.abs(differences[order])
    starts = np.flatnonzero(np.diff(sizes, prepend=-1.0))
    tied = np.add.reduceat(times[:, order], starts, axis=1).astype(float)
    positive = times[:, order] * (differences[order] > 0)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    up = (ranks * np.add.reduceat(positive, starts, axis=1)).sum(axis=1)
    number = tied.sum(axis=1)
    variance = number * (number + 1) * (2 * number + 1) / 24 - (tied**3 - tied).sum(axis=1) / 48
    apart: Array = (up - number * (number + 1) / 4) / np.sqrt(np.maximum(variance, 1e-12))
    return apart


def least_p(number: int) -> float:
    """The smallest two-sided p that a signed-rank test of `number` differences can give."""
    return min(1.0, 2.0 ** (1 - number)) if number else 1.0


def permutation(differences: Array, *, samples: int = 10000, seed: int = 0) -> float:
    """Two-sided p of the mean of differences (n,) under random signs; 1 if all are 0.

    All 2^n signs up to n = 16, else `samples` random ones, of which the data are one more.
    """
    values = np.asarray(differences, dtype=float)
    values = values[np.isfinite(values)]
    seen = abs(values.sum())
    if not values.any():
        return 1.0
    slack = 1e-12 * np.abs(values).sum()
    if len(values) <= FLIPS:
        signs = np.array(list(product((-1, 1), repeat=len(values))))
        return float((np.abs(signs @ values) >= seen - slack).mean())
    generator, beyond, step = np.random.default_rng(seed), 0, max(1, PIECE // len(values))
    for start in range(0, samples, step):
        size = (min(step, samples - start), len(values))
        signs = generator.integers(2, size=size, dtype=np.int8) * 2.0 - 1
        beyond += int((np.abs(signs @ values) >= seen - slack).sum())
    return (beyond + 1) / (samples + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p: the k-th smallest of m times m - k + 1, never below that of a smaller one."""
    order = np.argsort(p, kind="stable")
    adjusted, running = [1.0] * len(p), 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - place) * float(p[index])))
        adjusted[index] = running
    return adjusted


def rank_biserial(differences: Array) -> float:
    """(W+ - W-) / (W+ + W-) of differences (n,): from -1 to 1, 0 if all are 0."""
    values = np.asarray(differences, dtype=float)
    _, up, down, number = signed_ranks(values[np.isfinite(values)])
    return float((up - down) / (up + down)) if number else 0.0


def cohen_d(differences: Array) -> float:
    """Mean over standard deviation of differences (n,); NaN where they do not vary."""
    values = np.asarray(differences, dtype=float)
    values = values[np.isfinite(values)]
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread > 0 else float("nan")


def hodges_lehmann(differences: Array, level: float = 95) -> tuple[float, float, float]:
    """The shift of differences (n,): median of all pairwise means, with its lower and upper bound.

    The bounds invert the signed-rank test; NaN where n is too small for `level`.
    """
    values = np.asarray(differences, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    number = len(values)
    if not number:
        return (float("nan"),) * 3
    pairs = number * (number + 1) // 2
    middle = (_walsh(values, (pairs - 1) // 2) + _walsh(values, pairs // 2)) / 2
    alpha = (1 - level / 100) / 2
    if number <= EXACT:
        below = 1 - _tail(np.arange(1.0, number + 1))[::2]  # P(W < k)
        outside = int(np.searchsorted(below, alpha, side="right")) - 1
    else:
        spread = np.sqrt(number * (number + 1) * (2 * number + 1) / 24)
        outside = int(np.floor(pairs / 2 + special.ndtri(alpha) * spread))
    if outside < 1:
        return middle, float("nan"), float("nan")
    return middle, _walsh(values, outside - 1), _walsh(values, pairs - outside)


def _walsh(values: Array, place: int) -> float:
    """The mean of two sorted values (n,), itself with itself too, at `place` from the smallest.

    Found by halving, so that no n^2 numbers are held; right to the last bits.
    """
    low, high, index = float(values[0]), float(values[-1]), np.arange(len(values))
    for _ in range(100):
        middle = low + (high - low) / 2
        below = np.searchsorted(values, 2 * middle - values, side="right") - index
        if int(np.maximum(below, 0).sum()) > place:
            high = middle
        else:
            low = middle
        if high - low <= 1e-14 * max(abs(low), abs(high)):
            break
    return high


def rank(scores: Array, *, higher: bool) -> Array:
    """Ranks along the first axis, 1 is best, equals share their mean; NaN is last.

    A lane in which all are NaN has NaN ranks.
    """
    toward = -scores if higher else scores
    last = np.moveaxis(np.where(np.isnan(toward), np.inf, toward), 0, -1)
    ranks = np.moveaxis(midranks(last)[0], -1, 0)
    return np.where(np.isnan(scores).all(axis=0), np.nan, ranks)


def rank_then_aggregate(values: Array, *, higher: bool) -> Array:
    """Values (algorithms, cases) -> each algorithm's mean rank over cases."""
    ranks = rank(values, higher=higher)
    there = ~np.isnan(ranks).all(axis=0)
    return ranks[:, there].mean(axis=1)


def aggregate_then_rank(values: Array, *, higher: bool) -> Array:
    """Values (algorithms, cases) -> the ranks of the algorithms' means; NaN is left out of them."""
    there = np.isfinite(values)
    number = there.sum(axis=1)
    sums = np.where(there, values, 0).sum(axis=1)
    means = np.divide(sums, number, out=np.full(len(values), np.nan), where=number > 0)
    return rank(means, higher=higher)


def beaten(values: Array, *, higher: bool, alpha: float = 0.05) -> Array:
    """Values (algorithms, patients) -> how many others each beats significantly.

    By one-sided signed-rank tests at `alpha` that are not corrected, as the Decathlon ranks.
    """
    wins = np.zeros(len(values), dtype=int)
    for one, other in combinations(range(len(values)), 2):
        difference = (values[one] - values[other]) * (1 if higher else -1)
        wins[one] += wilcoxon(difference, alternative="greater") < alpha
        wins[other] += wilcoxon(-difference, alternative="greater") < alpha
    return wins


def beaten_in(values: Array, times: Array, *, higher: bool, alpha: float = 0.05) -> Array:
    """As `beaten` in each bootstrap sample -> (samples, algorithms), by the normal distribution.

    `times` (samples, patients) says how often a patient is drawn; NaN counts as no difference.
    """
    wins = np.zeros((len(times), len(values)), dtype=int)
    for one, other in combinations(range(len(values)), 2):
        apart = _standard((values[one] - values[other]) * (1 if higher else -1), times)
        wins[:, one] += special.ndtr(-apart) < alpha
        wins[:, other] += special.ndtr(apart) < alpha
    return wins


def kendall_tau(first: Array, others: Array) -> Array:
    """Kendall's tau-b of ranks (algorithms,) with each of (samples, algorithms); NaN if all tie."""
    pairs = np.array(list(combinations(range(len(first)), 2))).T
    one = np.sign(first[pairs[0]] - first[pairs[1]])
    other = np.sign(others[..., pairs[0]] - others[..., pairs[1]])
    scale = np.sqrt((one**2).sum() * (other**2).sum(-1))
    agree = (one * other).sum(-1)
    return np.divide(agree, scale, out=np.full(agree.shape, np.nan), where=scale > 0)
