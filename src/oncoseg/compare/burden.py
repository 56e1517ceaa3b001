"""What is said of all cases at once: Dice of all their volume, and the error of the burden.

The burden is the share that one region has in another, as tumours have in the liver.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from oncoseg.compare.records import Extra
from oncoseg.evaluate import Evaluation, Row

TEXT = (
    "Over all cases at once, where each weighs by its volume: {cases} cases. The burden is the "
    "volume of {part} / that of {whole}. A case that is missing or failed counts as one in which "
    "nothing was predicted, and its burden as wrong as can be."
)


def burdens(evaluations: Mapping[str, Evaluation], regions: Sequence[str]) -> tuple[Extra, ...]:
    """The table of both regions, the part and its whole; none without Dice of both."""
    part, whole = regions
    found = {}
    for name, evaluation in evaluations.items():
        cases = [_of(evaluation.rows, region) for region in (part, whole)]
        if not all(cases):
            return ()
        found[name] = _measured(*cases)
    counts = {name: len(_of(one.rows, part)) for name, one in evaluations.items()}
    text = TEXT.format(part=part, whole=whole, cases=max(counts.values()))
    head = (
        "Algorithm",
        f"Dice of all {part}",
        f"Dice of all {whole}",
        "Burden: root mean square error",
        "Burden: largest error",
    )
    rows = tuple((name, *map(_shown, values)) for name, values in found.items())
    return (Extra("All cases at once", text, head, rows),)


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _of(rows: Sequence[Row], region: str) -> dict[str, Row]:
    """Case -> its row of Dice in a region, of the cases whose truth is known."""
    return {
        row.case: row
        for row in rows
        if (row.region, row.metric) == (region, "dice") and not math.isnan(row.true_ml)
        if row.status != "no truth"
    }


def _measured(part: Mapping[str, Row], whole: Mapping[str, Row]) -> tuple[float, ...]:
    errors = np.array([_error(part[case], whole[case]) for case in part])
    errors = errors[~np.isnan(errors)]
    dice = _dice(part.values()), _dice(whole.values())
    if not len(errors):
        return *dice, math.nan, math.nan
    return *dice, float(np.sqrt((errors**2).mean())), float(errors.max())


def _dice(rows: Iterable[Row]) -> float:
    """2 |P and T| / (|P| + |T|) of all cases; 1 if there is nothing in any."""
    both = total = 0.0
    for row in rows:
        volume = _predicted(row) + row.true_ml
        both += row.value * volume if row.status == "ok" else 0.0
        total += volume
    return both / total if total else 1.0


def _predicted(row: Row) -> float:
    return row.predicted_ml if row.status == "ok" else 0.0


def _error(part: Row, whole: Row) -> float:
    """Of one case's burden; NaN where the whole is not there in truth."""
    if not whole.true_ml:
        return math.nan
    true = part.true_ml / whole.true_ml
    if not _predicted(whole):
        return max(true, 1 - true)
    return abs(_predicted(part) / whole.predicted_ml - true)
