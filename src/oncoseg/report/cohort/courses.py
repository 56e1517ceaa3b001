"""Courses: what is followed of patients over time, as change from the first visit.

Sums of a rule, and the size of the first region, come from the comparison with earlier scans where
reports hold one, and else from several cases of one patient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncoseg.report.cohort.sheet import Entry

MONTH = 365.25 / 12  # days
RECIST = (-30.0, 20.0)  # partial response, progression; in percent, of a sum of diameters
RECIST_SUM = "sum of diameters"


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
class Followed:
    """`rows` as `courses` takes them; `what` was measured; `lines` are thresholds in %.

    Times are in months, or visits where not all are `dated`.
    """

    what: str
    rows: Sequence[Mapping[str, Any]]
    lines: tuple[float, ...] = ()
    dated: bool = False


def followed(entries: Sequence[Entry], *, dated: bool) -> Iterator[Followed]:
    """Everything of which there may be courses; `dated` if days of entries are days."""
    compared = [entry for entry in entries if "change" in entry.plain.get("findings", {})]
    if compared:
        yield from _responses(compared)
        yield from _changes(compared)
    else:
        yield from _cases(entries, dated=dated)


def _responses(entries: Sequence[Entry]) -> Iterator[Followed]:
    """The sum of a rule's targets at its first visit and now."""
    ends: dict[tuple[str, str], list[tuple[Entry, float, float]]] = {}
    for entry in entries:
        section = entry.plain["findings"].get("response", {"title": "", "rows": ()})
        values = {row["name"]: row for row in section["rows"]}
        for name, row in values.items():
            then = values.get(name.replace("sum now", "first sum"))
            if name.startswith("sum now") and then is not None:
                rule = section["title"].rpartition(" by ")[2]
                what = f"{rule}{name.removeprefix('sum now')}"
                both = (entry, float(then["value"]), float(row["value"]))
                ends.setdefault((what, row["unit"]), []).append(both)
    for (what, unit), found in ends.items():
        name = f"{RECIST_SUM} ({what})" if unit == "mm" else f"the sum of {what} ({unit})"
        lines = RECIST if unit == "mm" else ()
        yield _two(name, [(entry, then, now, 0) for entry, then, now in found], lines)


def _changes(entries: Sequence[Entry]) -> Iterator[Followed]:
    """The first region's size at the scan before and now."""
    found, region = [], ""
    for entry in entries:
        region = region or next(iter(entry.sizes), "")
        values = {
            row["name"]: float(row["value"])
            for finding, row in entry.rows
            if finding == "change" and row.get("region") == region and row["unit"] == "ml"
        }
        if {"before", "now"} <= values.keys():
            found.append((entry, values["before"], values["now"], -2))
    if found:
        yield _two(f"volume {region}", found)


def _two(
    what: str,
    found: Sequence[tuple[Entry, float, float, int]],
    lines: tuple[float, ...] = (),
) -> Followed:
    """Two points a case: then, at the visit of that place among its visits, and now."""
    days = [
        entry.plain["findings"]["change"]["visits"][place]["days_earlier"]
        for entry, _, _, place in found
    ]
    dated = all(isinstance(day, int) and day > 0 for day in days)
    rows = []
    for (entry, then, now, _), day in zip(found, days):
        said = {"patient": entry.patient, "link": entry.link}
        rows.append({**said, "when": -day / MONTH if dated else -1.0, "sum": then})
        rows.append({**said, "when": 0.0, "sum": now})
    return Followed(what, rows, lines, dated)


def _cases(entries: Sequence[Entry], *, dated: bool) -> Iterator[Followed]:
    """Each case is a visit of its patient."""
    sums: dict[str, float] = {}
    sizes: dict[str, dict[str, float]] = {}
    for entry in entries:
        for finding, row in entry.rows:
            if finding == "volumes":
                name = f"{row['name']} {row['region']}"
                sizes.setdefault(name, {})[entry.case] = float(row["value"])
            elif (finding, row["name"], row["unit"]) == ("recist", RECIST_SUM, "mm"):
                sums[entry.case] = float(row["value"])
    first = next(iter(sizes), "")
    found = [(f"the {RECIST_SUM}", sums, RECIST), (first, sizes.get(first, {}), ())]
    for what, values, lines in found:
        rows = [
            {
                "patient": entry.patient,
                "when": entry.day / MONTH if dated else entry.day,
                "sum": values[entry.case],
                "link": entry.link,
            }
            for entry in entries
            if entry.case in values and not math.isnan(entry.day)
        ]
        if rows:
            yield Followed(what, rows, lines, dated)
