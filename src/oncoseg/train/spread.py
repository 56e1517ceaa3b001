"""Means over cases with 95 % intervals over patients, by one rule for page, folds and subsets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.blocks.statistics import interval

SAMPLES, SEED = 2000, 0  # of the bootstrap, as evaluate has it
Rows = Mapping[str, Mapping[str, float]]  # case -> region -> Dice


@dataclass(frozen=True)
class Spread:
    """A mean with its 95 % interval over patients (NaN for fewer than two), and of how many."""

    mean: float
    low: float
    high: float
    cases: int


def spread(values: Mapping[str, float], patients: Mapping[str, str]) -> Spread:
    """Of one value a case; a case of which no patient is known is one by itself."""
    if not values:
        return Spread(math.nan, math.nan, math.nan, 0)
    owners = [patients.get(case, case) for case in values]
    given = np.array(list(values.values()), dtype=float)
    low, high = interval(given, owners, samples=SAMPLES, seed=SEED)
    return Spread(float(given.mean()), low, high, len(given))


def by_region(rows: Rows, patients: Mapping[str, str], regions: Iterable[str]) -> dict[str, Spread]:
    """Of each region that was looked for in any case."""
    found = {
        name: spread({case: row[name] for case, row in rows.items() if name in row}, patients)
        for name in regions
    }
    return {name: one for name, one in found.items() if one.cases}


def recorded(rows: Rows, patients: Mapping[str, str], regions: Iterable[str]) -> dict[str, Any]:
    """What is written of some cases: mean Dice a region, of how many, `intervals`, and the rows."""
    found = by_region(rows, patients, regions)
    return {
        "dice": {name: round(one.mean, 4) for name, one in found.items()},
        "cases": len(rows),
        "intervals": {
            name: [round(one.low, 4), round(one.high, 4)]
            for name, one in found.items()
            if math.isfinite(one.low)
        },
        "rows": rows,
    }
