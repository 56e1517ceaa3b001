"""Visits: whose a case is and of when, as a CSV file says."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import BadFile

REMEDY = "give a CSV file with the columns case, patient, and date (2024-03-31) or day"


@dataclass(frozen=True)
class Visit:
    """Whose a case is, and its day counted from any one day; `text` is how it was given."""

    patient: str
    day: float
    text: str


def read_visits(path: Path, cases: Collection[str]) -> dict[str, Visit]:
    """Case -> visit, from a CSV file with `case`, `patient` and `date` (ISO) or `day` (number).

    Raises `BadFile` for a column that is not there, a case named twice, a date that is none, or a
    file that names none of the `cases`.
    """
    from oncoseg.compare.groups import read_groups  # noqa: PLC0415 - its package imports this one

    columns = read_groups(path)
    when = "date" if "date" in columns else "day"
    if not {"patient", when} <= columns.keys():
        raise BadFile(path, "has no column 'patient', or neither 'date' nor 'day'", REMEDY)
    found = {}
    for case, text in columns[when].items():
        if not (patient := columns["patient"][case]):
            raise BadFile(path, f"names no patient of case {case}", REMEDY)
        try:
            day = float(dt.date.fromisoformat(text).toordinal()) if when == "date" else float(text)
        except ValueError as error:
            raise BadFile(
                path, f"says {text!r} of case {case}, which is no {when}", REMEDY
            ) from error
        if not math.isfinite(day):
            raise BadFile(path, f"says {text!r} of case {case}, which is no {when}", REMEDY)
        found[case] = Visit(patient, day, text)
    if not found.keys() & set(cases):
        cause = f"names {', '.join([*found][:3])}, ..., none of which is a case here"
        raise BadFile(path, cause, f"name cases as predictions are, such as {min(cases)}")
    return found
