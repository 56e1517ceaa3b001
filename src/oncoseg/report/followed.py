"""What is followed over time in a cohort: sums of a rule, and the size of the first region.

They come from the comparison with earlier scans where reports hold one, and else from several cases
of one patient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncoseg.report.courses import MONTH
from oncoseg.report.sheet import Entry

RECIST = (-30.0, 20.0)  # partial response, progression; in percent, of a sum of diameters
RECIST_SUM = "sum of diameters"


@dataclass(frozen=True)
class Followed:
    """`rows` as `courses.courses` takes them; `what` was measured; `lines` are thresholds in %.

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
