"""The rows of a finding as a table: a line a region or lesion, a column a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oncoseg.report.records import DASH, Section

WIDE = 12  # columns: a table of more has a line each measurement instead


def tabled(section: Mapping[str, Any], methods: Sequence[str] = ()) -> Section:
    """A finding's plain data as it stands on the page, below it how it was measured.

    Rows that name no region and no lesion are facts of the case, and stand before the table.
    """
    facts: dict[str, str] = {}
    lines: dict[str, dict[str, str]] = {}
    columns: dict[str, str] = {}
    for row in section["rows"]:
        whose = row.get("lesion") or row.get("region")
        if whose is None:
            facts[row["name"]] = measured(row)
            continue
        columns.setdefault(row["name"], row["unit"])
        lines.setdefault(whose, {})[row["name"]] = worded(row)
    rows = [(name, [cells.get(key, DASH) for key in columns]) for name, cells in lines.items()]
    return Section(
        section["title"], methods or [section["method"]], facts, list(columns.items()), rows
    )


def tables(section: Mapping[str, Any]) -> list[Section]:
    """A finding as one table, or turned into several where one would be too wide for a page.

    Then a line is a measurement. What was measured in images (`image` in a row) has a table each
    region or lesion, whose columns are images; the rest has one whose columns are regions.
    """
    whole = tabled(section)
    if len(whole.columns) <= WIDE:
        return [whole]
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for row in section["rows"]:
        whose = row.get("lesion") or row.get("region")
        if whose is None:
            continue
        image = row.get("image", "")
        title = f"{section['title']}: {whose}" if image else section["title"]
        line = ", ".join(filter(None, (row["name"].removeprefix(f"{image} "), row["unit"])))
        cells.setdefault(title, {}).setdefault(line, {})[image or whose] = worded(row)
    found = [_turned(title, lines) for title, lines in cells.items()]
    found[0] = replace(found[0], facts=whole.facts)
    found[-1] = replace(found[-1], methods=whole.methods)
    return found


def _turned(title: str, lines: Mapping[str, Mapping[str, str]]) -> Section:
    """A table from the cells of each line by column."""
    columns = list(dict.fromkeys(name for cells in lines.values() for name in cells))
    rows = [(name, [cells.get(one, DASH) for one in columns]) for name, cells in lines.items()]
    return Section(title, [], {}, [(name, "") for name in columns], rows)


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
    return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"
