"""Groups of cases, as site or scanner, from a CSV file: the column `case`, and any others."""

from __future__ import annotations

import csv
from pathlib import Path

from oncoseg.errors import BadFile

REMEDY = "give a CSV file with the column 'case' and one or more others"


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Column -> case -> group, in the order of the columns.

    Raises `BadFile` without a column `case`, and for a case that is there twice.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"cannot be read ({error})", REMEDY) from error
    columns = [name for name in (rows[0] if rows else ()) if name not in (None, "case")]
    if not rows or "case" not in rows[0] or not columns:
        raise BadFile(path, "has no column 'case', or nothing beside it", REMEDY)
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    for number, row in enumerate(rows, start=2):
        case = (row["case"] or "").strip()
        if case in found[columns[0]]:
            raise BadFile(path, f"names case {case} a second time in line {number}", "keep one")
        for column in columns:
            found[column][case] = (row[column] or "").strip()
    return found
