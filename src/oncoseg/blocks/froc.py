"""Free-response ROC: lesions found against lesions invented, at every threshold of a probability.

A candidate is a connected component of the voxels whose probability is at least a floor; its score
is its highest probability, as in the U-Net baselines of Jaeger 2018 (arXiv 1811.08661). It finds a
true lesion if their intersection over union is at least 0.1, as in PI-CAI (Saha 2024, doi
10.1016/S1470-2045(24)00220-1): if any overlap were enough, who takes everything would find it all.
A lesion counts once, and what finds one is never a false positive (Setio 2017, arXiv 1612.08012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from oncoseg.blocks.lesions import checked_iou, components, paired
from oncoseg.blocks.statistics import clusters, draws, percentiles
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array
from oncoseg.errors import BadData, BadOption

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives a case, of the FROC score
CONNECTIVITY = 26
IOU = 0.1  # at which a candidate finds a lesion
SAMPLES = 1000
PIECE = 100  # samples drawn at once


@dataclass(frozen=True)
class Found:
    """One case: the score that found each true lesion (T,), 0 where nothing did; their voxels (T,).

    `false` (F,) holds the scores of candidates that find none.
    """

    lesions: Array
    sizes: Array
    false: Array

    def as_lists(self) -> list[list[float]]:
        """Plain data for JSON."""
        return [self.lesions.tolist(), self.sizes.tolist(), self.false.tolist()]

    @classmethod
    def of(cls, lists: Sequence[Sequence[float]]) -> Found:
        """Inverse of `as_lists`."""
        return cls(*map(np.array, lists))


@dataclass(frozen=True)
class Point:
    """Where a threshold puts a model: lesions found, and false positives a case; 95 % intervals."""

    threshold: float
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    false_positives: float
    false_positives_low: float
    false_positives_high: float

    def as_dict(self) -> dict[str, float | None]:
        """Plain data for JSON; null stands for what is not known."""
        return {
            name: round(value, 6) if math.isfinite(value) else None
            for name, value in asdict(self).items()
        }


def checked(floor: float, iou: float) -> tuple[float, float]:
    """A floor that candidates can have, and what a match can ask for: raises `BadOption`."""
    if not 0 < floor < 1:
        raise BadOption(f"option 'floor' takes a probability above 0 and below 1, not {floor:g}")
    return floor, checked_iou(iou)


def found(probability: Array, truth: Array, floor: float, iou: float) -> Found:
    """Candidates of a probability (*S) against a mask (*S); NaN is nowhere and counts for nothing.

    Only scores are kept, so that a data set of any size fits into memory.
    """
    claimed, true = probability >= floor, truth & ~np.isnan(probability)
    box = bounds(claimed | true)
    claimed, true, probability = claimed[box], true[box], probability[box]
    candidates, count = components(claimed, CONNECTIVITY)
    both = paired(candidates, count, *components(true, CONNECTIVITY))
    scores = np.zeros(count + 1, dtype=np.float32)
    # As exact as predictions are, so that there are at most some thousand thresholds.
    exact = probability[claimed].astype(np.float16).astype(np.float32)
    np.maximum.at(scores, candidates[claimed], exact)
    matches = both.pairs[both.iou >= iou]
    best = np.zeros(len(both.true), dtype=np.float32)
    np.maximum.at(best, matches[:, 1], scores[1:][matches[:, 0]])
    return Found(best, both.true, np.delete(scores[1:], matches[:, 0]))


def kept(probability: Array, floor: float, threshold: float) -> tuple[Array, int, int]:
    """The candidates (*S) that score at least a threshold, how many these are, and of how many."""
    numbers, count = components(probability >= floor, CONNECTIVITY)
    surest = np.zeros(count + 1, dtype=probability.dtype)
    np.maximum.at(surest, numbers, probability)
    stay = surest.astype(np.float64) >= threshold  # a threshold is finer than float16
    return stay[numbers] & (numbers > 0), int(stay[1:].sum()), count


class Froc:
    """The curve of a region in many cases, each with its patient.

    `thresholds` are every score, falling; `sensitivity` and `false_positives` (a case) are those of
    all candidates that score at least as much.
    """

    def __init__(
        self, cases: Sequence[Found], patients: Sequence[str], floor: float, region: str
    ) -> None:
        self.cases, self.floor, self.region = cases, floor, region
        self.member, self.patients = clusters(patients)
        self.lesions = int(sum(len(case.lesions) for case in cases))
        if not self.lesions:
            raise BadData(f"{region}: no case has a lesion of it, so none can be found")
        scores = np.concatenate([score for case in cases for score in (case.lesions, case.false)])
        falling, place = np.unique(-scores, return_inverse=True)
        self.thresholds = -falling[falling < 0]  # 0: lesions that nothing found
        self._hits, self._false = np.zeros((2, self.patients, len(falling)))
        ends = np.cumsum([len(score) for case in cases for score in (case.lesions, case.false)])
        for case, some in enumerate(np.split(place, ends[:-1])):
            table = self._false if case % 2 else self._hits
            np.add.at(table[self.member[case // 2]], some, 1)
        sizes = [len(case.lesions) for case in cases]
        self._totals = self._each(sizes), self._each(np.ones(len(cases)))
        self.sensitivity, self.false_positives = (
            curve[0] for curve in self._curves(np.ones((1, self.patients)))
        )

    def score(self) -> float:
        """The mean sensitivity at `RATES`."""
        return float(self.at(RATES).mean())

    def at(self, rates: Sequence[float]) -> Array:
        """Sensitivity at false positives a case, on straight lines between points, from (0, 0)."""
        return _between(rates, self.sensitivity, self.false_positives)

    def bootstrap(self, rates: Sequence[float], samples: int = SAMPLES, seed: int = 0) -> Array:
        """`at` of so many samples of patients (samples, rates)."""
        if self.patients < 2 or samples < 2:
            return np.full((max(samples, 1), len(rates)), np.nan)
        drawn = draws(self.patients, samples, seed)
        curves = (self._curves(some) for some in np.array_split(drawn, -(-samples // PIECE)))
        return np.array([_between(rates, *curve) for some in curves for curve in zip(*some)])

    def chosen(self, *, false_positives: float = 0.0, sensitivity: float = 0.0) -> float:
        """The threshold with at most so many false positives a case, or at least a sensitivity.

        Of those that do, the most sensitive, and then the one with fewest false positives. It lies
        half way to the next score below, so that rounding a probability does not matter. Raises
        `BadData` if none does.
        """
        if sensitivity:
            goal, asked = sensitivity, f"{sensitivity:g} of the lesions"
        else:
            # Both rise as the threshold falls: the last that is allowed is the most sensitive.
            last = np.flatnonzero(self.false_positives <= false_positives + 1e-9)[-1:]
            goal = float(self.sensitivity[last[0]]) if len(last) else 0.0
            asked = f"any lesion with at most {false_positives:g} false positives a case"
        fit = np.flatnonzero(self.sensitivity >= (goal or 2) - 1e-9)[:1]
        if not len(fit):
            most = f"{self.sensitivity.max(initial=0):.3f}"
            remedy = "ask for less, or take candidates from another floor"
            raise BadData(
                f"{self.region}: no threshold finds {asked}; the most that any finds is {most}, "
                f"from voxels with a probability of at least {self.floor:g}: {remedy}"
            )
        here, after = self.thresholds[fit[0]], self.thresholds[fit[0] + 1 :]
        return float((here + (after[0] if len(after) else min(self.floor, here))) / 2)

    def point(self, threshold: float, samples: int = SAMPLES, seed: int = 0) -> Point:
        """What a threshold achieves in these cases, intervals from a bootstrap over patients."""
        hits = self._each([int(np.sum(case.lesions >= threshold)) for case in self.cases])
        false = self._each([int(np.sum(case.false >= threshold)) for case in self.cases])
        lesions, cases = self._totals
        drawn = draws(self.patients, samples, seed)
        ends = [
            percentiles(_share(drawn @ top, drawn @ below))
            if self.patients > 1
            else (float("nan"), float("nan"))
            for top, below in ((hits, lesions), (false, cases))
        ]
        sensitivity, rate = float(hits.sum() / lesions.sum()), float(false.sum() / cases.sum())
        return Point(threshold, sensitivity, *ends[0], rate, *ends[1])

    def _curves(self, drawn: Array) -> tuple[Array, Array]:
        """Sensitivity and false positives (samples, thresholds) of patients drawn so often."""
        count = len(self.thresholds)
        hits, false = (
            np.cumsum(drawn @ table[:, :count], axis=1) for table in (self._hits, self._false)
        )
        lesions, cases = ((drawn @ total)[:, None] for total in self._totals)
        return _share(hits, lesions), _share(false, cases)

    def _each(self, values: Sequence[float] | Array) -> Array:
        """Sums of values of the cases over each patient."""
        return np.bincount(self.member, values, minlength=self.patients)


def _share(part: Array, whole: Array) -> Array:
    """NaN where there is nothing: a sample may hold no lesion."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _between(rates: Sequence[float], sensitivity: Array, false_positives: Array) -> Array:
    return np.interp(rates, np.append(0.0, false_positives), np.append(0.0, sensitivity))
