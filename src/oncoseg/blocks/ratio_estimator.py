"""Ratio estimator: the share that a part has of a whole, from the probability of each voxel.

With independent voxels of calibrated probabilities p_A <= p_B, A within B, sizes have the mean
sum(p), the variance sum(p (1 - p)) and the covariance sum(p_A (1 - p_B)). The delta method gives
the mean and the variance of A / B from these (Cochran 1977, Sampling Techniques, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from oncoseg.blocks.counts import counts
from oncoseg.case import Array, Prediction, Task

ROWS = 16
MOST = 12  # ratios that a reader takes in at a glance; tasks of many organs would have hundreds


@dataclass(frozen=True)
class Share:
    """A part strictly within a whole: names to print, and the labels of each."""

    part: str
    whole: str
    inner: frozenset[str]
    outer: frozenset[str]

    @property
    def name(self) -> str:
        """Such as `NCR / TC`."""
        return f"{self.part} / {self.whole}"

    def of(self, sizes: Mapping[str, float]) -> tuple[float, float]:
        """Part and whole, from the size of each label; the same in whatever order."""
        part, whole = (
            math.fsum(sizes[name] for name in names) for names in (self.inner, self.outer)
        )
        return part, whole


def shares(task: Task) -> list[Share]:
    """Each region and label within each region that holds it and more, the largest wholes first.

    Of a task whose regions are single labels, each label within all of them together.
    """
    regions = {name: frozenset(members) for name, members in task.regions.items()}
    parts = {members: name for name, members in reversed(regions.items())}
    parts |= {frozenset([x]): x for x in task.labels if frozenset([x]) not in parts}
    wholes = dict(regions)
    if task.exclusive and len(regions) > 1:
        wholes[f"({' + '.join(regions)})"] = frozenset().union(*regions.values())
    found = [
        Share(part, whole, inner, outer)
        for whole, outer in wholes.items()
        for inner, part in parts.items()
        if inner < outer
    ]
    return sorted(found, key=lambda one: (-len(one.outer), -len(one.inner), one.name))


@dataclass(frozen=True)
class Sums:
    """Expected sizes of a part and its whole, their variances, and their covariance."""

    part: float
    whole: float
    part_variance: float
    whole_variance: float
    covariance: float

    @property
    def plain(self) -> float:
        """The ratio of expected sizes."""
        return self.part / self.whole

    @property
    def ratio(self) -> float:
        """The expected ratio, to second order: `plain` without its bias, within 0 and 1."""
        bias = (self.plain * self.whole_variance - self.covariance) / self.whole**2
        return min(1.0, max(0.0, self.plain + bias))

    @property
    def deviation(self) -> float:
        """Standard deviation of the ratio, to first order."""
        ratio, crossed = self.plain, 2 * self.plain * self.covariance
        variance = self.part_variance - crossed + ratio**2 * self.whole_variance
        return math.sqrt(max(0.0, variance)) / self.whole

    def bounded(self, z: float, offset: float) -> list[tuple[float, float, float]]:
        """Both sizes: estimate, `z` deviations of it, and what its other errors are relative to.

        An `offset` of 0 means the ratio itself in their place, of which errors are absolute.
        """
        if not offset:
            return [(self.ratio, z * self.deviation, 1.0)]
        sides = (self.part, self.part_variance), (self.whole, self.whole_variance)
        return [(one, z * math.sqrt(variance), one + offset) for one, variance in sides]

    def ends(self, *margins: float) -> tuple[float, float]:
        """The ratio's ends if it is known to within a margin, or each of both sizes is."""
        if len(margins) == 1:
            low, high = self.ratio - margins[0], self.ratio + margins[0]
        else:
            part, whole = margins
            low = (self.part - part) / (self.whole + whole)
            high = (self.part + part) / (self.whole - whole) if whole < self.whole else 1.0
        return max(0.0, min(low, self.ratio)), min(1.0, max(high, self.ratio))


def expected(prediction: Prediction) -> dict[Share, Sums]:
    """Of each share of which the whole was found and that probabilities tell, in ml (2-D: mm²)."""
    task, told = prediction.task, len(prediction.probability) > 0
    there, pairs = sizes(prediction, prediction.label), shares(task)
    if not told or len(pairs) > MOST:
        return {}
    found = [one for one in pairs if sum(there[name] for name in one.outer)]
    weights = {labels: _weights(task, labels) for one in found for labels in (one.inner, one.outer)}
    totals = {
        one: np.zeros(5)
        for one in found
        if weights[one.inner] is not None and weights[one.outer] is not None
    }
    for slab in _slabs(prediction.probability):
        chances = {
            labels: _chance(each, slab) for labels, each in weights.items() if each is not None
        }
        for one in totals:
            totals[one] += _products(chances[one.inner], chances[one.outer])
    units = _voxel(prediction) ** np.array([1, 1, 2, 2, 2])
    return {one: Sums(*map(float, total * units)) for one, total in totals.items() if total[1] > 0}


def sizes(prediction: Prediction, label: Array) -> dict[str, float]:
    """Size of every label in a label map (*S), counted, in ml (2-D: mm²)."""
    found = counts(label)[:, 0] * _voxel(prediction)
    return {name: float(found[value]) for name, value in prediction.task.labels.items()}


def _voxel(prediction: Prediction) -> float:
    return prediction.grid.voxel_volume / (1 if prediction.grid.dims == 2 else 1000)


def _products(part: Array, whole: Array) -> list[float]:
    """Sums of p_A, p_B and of their variances and covariance, of all voxels."""
    part, rest = np.minimum(part, whole), 1 - whole
    terms = (part, whole, part * (1 - part), whole * rest, part * rest)
    return [float(each.sum(dtype=np.float64)) for each in terms]


def within(level: float) -> float:
    """Standard deviations around its mean that hold a normal number with probability `level`."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _weights(task: Task, labels: frozenset[str]) -> Array | None:
    """Weights of regions' probabilities that make up that of some labels; None if none do.

    As of NCR = TC - ET, if TC holds NCR and ET.
    """
    table = np.array([[x in region for x in task.labels] for region in task.regions.values()])
    wanted = np.array([x in labels for x in task.labels], dtype=float)
    weights = np.linalg.lstsq(table.T.astype(float), wanted, rcond=None)[0].round(6)
    return np.asarray(weights) if np.allclose(table.T @ weights, wanted) else None


def _chance(weights: Array, slab: Array) -> Array:
    """Probability (*S) of what these weights make up."""
    used = np.flatnonzero(weights)
    values = np.tensordot(weights[used].astype(np.float32), slab[used].astype(np.float32), axes=1)
    return np.asarray(np.clip(values, 0, 1))


def _slabs(probability: Array) -> Iterator[Array]:
    """Probabilities (regions, *S), some rows after another: floats of all would fill the memory."""
    for start in range(0, probability.shape[1], ROWS):
        yield probability[:, start : start + ROWS]
