"""Courses: what was measured of a patient over time, as change from the first visit."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.errors import BadFile

MONTH = 365.25 / 12  # days
REMEDY = "give a CSV file with the columns case, patient, and date (2024-03-31) or day"


@dataclass(frozen=True)
class Course:
    """A patient's `points`: time since baseline, and change from it in percent, baseline first."""

    patient: str
    points: tuple[tuple[float, float], ...]
    link: str = ""

    @property
    def best(self) -> float:
        """The least of the changes after baseline: most fall, or least rise."""
        return min(change for _, change in self.points[1:])


def courses(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Course], list[str]]:
    """Rows of `patient`, `when`, `sum` and maybe `link` -> courses, and what is not among them.

    The earliest row of a patient is baseline, unless rows state theirs as `baseline`. The link is
    that of the last. Who has one row alone has no course.
    """
    known = [row for row in rows if math.isfinite(row["when"]) and math.isfinite(row["sum"])]
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(known, key=lambda row: float(row["when"])):
        patients.setdefault(row["patient"], []).append(row)
    found, told = [], []
    for patient, visits in patients.items():
        first, times = visits[0], [float(row["when"]) for row in visits]
        if len(visits) < 2:
            continue
        if len(set(times)) < len(times):
            told.append(f"{patient} has two cases of one time, so no course.")
        elif not (base := float(first.get("baseline", first["sum"]))) > 0:
            told.append(f"{patient} has nothing to measure at baseline, so no change in percent.")
        else:
            points = [(when - times[0], row["sum"]) for when, row in zip(times, visits)]
            changes = tuple((when, 100 * (value - base) / base) for when, value in points)
            found.append(Course(patient, changes, str(visits[-1].get("link", ""))))
    return found, told


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
