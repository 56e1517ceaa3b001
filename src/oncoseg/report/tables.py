"""The rows of a finding as a table: a line a region or lesion, a column a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oncoseg.report.records import DASH, Section


def tabled(title: str, rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Section:
    """Rows as they stand on the page, below them how they were measured.

    Rows that name no region and no lesion are facts of the case, and stand before the table.
    """
    facts: dict[str, str] = {}
    lines: dict[str, dict[str, str]] = {}
    columns: dict[str, str] = {}
    for row in rows:
        whose = row.get("lesion") or row.get("region")
        if whose is None:
            facts[row["name"]] = measured(row)
            continue
        columns.setdefault(row["name"], row["unit"])
        lines.setdefault(whose, {})[row["name"]] = worded(row)
    cells = [(name, [line.get(key, DASH) for key in columns]) for name, line in lines.items()]
    return Section(title, methods, facts, list(columns.items()), cells)


def tables(section: Mapping[str, Any]) -> list[Section]:
    """A finding as a table; what was measured in images (`image` in a row) has tables of its own.

    Of these there is one each region or lesion, and its lines are images.
    """
    title: str = section["title"]
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in section["rows"]:
        if image := row.get("image"):
            whose = row.get("lesion") or row["region"]
            name = row["name"].removeprefix(f"{image} ")
            line = {**row, "name": name, "lesion": image}
            parts.setdefault(f"{title}: {whose}", []).append(line)
        else:
            parts.setdefault(title, []).append(row)
    found = [tabled(title, rows, []) for title, rows in (parts or {title: []}).items()]
    found[-1] = replace(found[-1], methods=[section["method"]])
    return found


def worded(row: Mapping[str, Any]) -> str:
    """A row's value, and its interval if there is one, without unit: `14.2 (12.0-17.1, 90%)`."""
    return measured({**row, "unit": ""})


def measured(row: Mapping[str, Any]) -> str:
    """A row's value with its unit, and its interval if there is one: `14.2 ml (12.0-17.1, 90%)`."""
    value = row["value"]
    text = value if isinstance(value, str) else short(value)
    text += f" {row['unit']}" if row["unit"] else ""
    if "low" in row:
        text += f" ({short(row['low'])}-{short(row['high'])}, {row['level']:.0%})"
    return f"{text}: {row['verdict']}" if "verdict" in row else text


def short(value: float) -> str:
    """Enough digits to compare, no more: 0, 0.042, 3.14, 61.3, 12500, 1.2e-05."""
    if isinstance(value, int) or value == 0:
        return str(int(value))
    size = abs(value)
    if size < 0.001 or size >= 1e6:
        return f"{value:.3g}"
    places = 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0
    return f"{value:.{places}f}"
