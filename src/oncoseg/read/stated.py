"""What a person says of cases beside the data, in `cases.tsv`: patient, site, classes, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncoseg.blocks.layouts import table
from oncoseg.case import Source
from oncoseg.errors import BadData, BadFile, unknown

TABLE = "cases.tsv"
COLUMNS = ("case", "patient", "site", "annotated", "weight", "weights")
LEAST = 0.01


def stated(folder: Path, sources: Sequence[Source], description: Mapping[str, Any]) -> list[Source]:
    """The sources by name, with the ignored value and what `cases.tsv` in their folder says.

    A row a case, with tabs; `annotated` names labels or regions with commas between, `weight` is a
    number from 0.01 to 1, `weights` a file with one a voxel. Empty cells say nothing. Raises
    `BadFile` on other columns, cases that are not there or are there twice, and other weights;
    `BadData` on two sources of one name.
    """
    ignore = int(description.get("ignore") or 0)
    sources = [replace(source, ignore=ignore) for source in _distinct(folder, sources)]
    path = folder / TABLE
    rows = table(path, "case")
    if not rows:
        return sources
    for column in rows[0].keys() - set(COLUMNS):
        why = f"has the column '{column}'; {unknown('column', str(column), COLUMNS)}"
        raise BadFile(path, why, "rename or remove it")
    said = {row["case"]: row for row in rows}
    there = {source.case for source in sources}
    for case in said.keys() - there:
        raise BadFile(path, f"names the case '{case}', which is not there", "correct its name")
    if len(said) < len(rows):
        raise BadFile(path, "names a case twice", "keep one row a case")
    return [_with(path, source, said.get(source.case, {})) for source in sources]


def _with(path: Path, source: Source, row: Mapping[str, str | None]) -> Source:
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    names = tuple(name.strip() for name in cells["annotated"].split(",") if name.strip())
    weights: list[float | Path] = [_number(path, cells["weight"])] if cells["weight"] else []
    weights += [path.parent / cells["weights"]] if cells["weights"] else []
    return replace(
        source,
        patient=cells["patient"] or source.patient,
        site=cells["site"] or source.site,
        annotated=names,
        weights=tuple(weights),
    )


def _number(path: Path, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not LEAST <= number <= 1:
        raise BadFile(path, f"has the weight {text}", f"give a number from {LEAST} to 1")
    return number


def _distinct(folder: Path, sources: Sequence[Source]) -> list[Source]:
    if not sources:
        raise BadData(f"{folder}: holds no scan that is recognised; check the folder")
    seen: dict[str, Source] = {}
    for source in sources:
        first = seen.setdefault(source.case.casefold(), source)
        if first is not source:
            here = next(iter(source.images.values()), folder)
            raise BadData(f"{here}: a second case is named {source.case}; rename one of the two")
    return sorted(sources, key=lambda source: source.case)
