"""The table of a cohort: a row a case, in which a case that failed is a row too.

Columns are named `<name>_<unit>.<region>`; those of an interval end in `.low`, `.high`, `.level`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from oncoseg.evaluate.table import cell
from oncoseg.extras import require

FORMAT = "oncoseg-cohort-1"
# Findings whose columns go by the name of the measurement alone; any other's have its name first.
BARE = ("volumes", "diameters", "extent", "quality")
TOLD = ("modalities used", "modalities missing")  # have columns of their own
SIGNS = {"²": "2", "³": "3", "%": "percent", "°": "degrees", "µ": "u", "±": "error"}
ENDS = ("", "low", "high", "level")

Value = float | str


@dataclass(frozen=True)
class Entry:
    """A case: what its report holds, as plain data, and its page's name; or the `reason` why not.

    A `patient` may have several cases; `day` is that of the visit, counted from any one day, or its
    number where there are no dates (`visit` is either as text).
    """

    case: str
    patient: str
    page: str = ""
    plain: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    visit: str = ""
    day: float = math.nan

    @property
    def failed(self) -> bool:
        """Whether there is no report."""
        return not self.plain

    @property
    def model(self) -> str:
        """Name and version of the model, "" if neither is known."""
        model = self.plain.get("model", {})
        return " ".join(str(model[key]) for key in ("name", "version") if model.get(key))

    @property
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Name of the finding, and each row that is of a region or of the case.

        A row named after an earlier visit, whose day is another in each case, is `before`, one of
        a visit before that `before 2`.
        """
        for finding, section in self.plain.get("findings", {}).items():
            earlier = section.get("visits", ())[-2::-1]
            names = {one["name"]: place for place, one in enumerate(earlier, start=1)}
            for row in section["rows"]:
                if "lesion" in row or row["name"] in TOLD:
                    continue
                name = row["name"]
                for visit, place in names.items():
                    name = name.replace(visit, "before" if place == 1 else f"before {place}")
                yield finding, {**row, "name": name}

    @property
    def link(self) -> str:
        """Its page as a relative link, "" if there is none."""
        safe = "".join(f"%{ord(one):02X}" if one in "%#?" else one for one in self.page)
        return f"./{safe}" if safe else ""

    @property
    def sizes(self) -> dict[str, float]:
        """Region -> its volume, or area."""
        rows = self.plain.get("findings", {}).get("volumes", {"rows": ()})["rows"]
        return {row["region"]: float(row["value"]) for row in rows}

    @property
    def empty(self) -> set[str]:
        """Regions of which nothing was found."""
        return {region for region, size in self.sizes.items() if size == 0}


class Column(NamedTuple):
    """A measurement's column; they sort by place: what every report has, then further findings."""

    further: bool
    stem: str
    again: int
    end: int

    @property
    def name(self) -> str:
        """`volume_ml.ET`, `volume_ml.ET.low`; a second row of the same name is `volume_ml.ET#2`."""
        end = f".{ENDS[self.end]}" if self.end else ""
        return f"{self.stem}{f'#{self.again}' if self.again > 1 else ''}{end}"


def stem(finding: str, row: Mapping[str, Any]) -> str:
    """`volume_ml.ET`, `radiomics.energy.ET`: what a row of a finding is called in the table."""
    before = "" if finding in BARE else f"{finding}."
    after = f".{row['region']}" if row.get("region") else ""
    return f"{before}{_words(row['name'], row['unit'])}{after}"


@lru_cache(maxsize=10_000)
def _words(name: str, unit: str) -> str:
    told = f"{name} {unit.replace('/', ' per ')}".lower()
    for sign, word in SIGNS.items():
        told = told.replace(sign, word)
    return re.sub(r"\W+", "_", told).strip("_")


def measured(entry: Entry) -> dict[Column, Value]:
    """Every measurement of a region or of the case; lesions have no column."""
    cells: dict[Column, Value] = {}
    for finding, row in entry.rows:
        column = Column(finding not in BARE, stem(finding, row), 1, 0)
        while column in cells:
            column = column._replace(again=column.again + 1)
        value = row["value"]
        cells[column] = value if isinstance(value, str) else float(value)
        for place, end in enumerate(ENDS):
            if end and end in row:
                cells[column._replace(end=place)] = float(row[end])
    return cells


def facts(entry: Entry) -> dict[str, Value]:
    """What a row says before its measurements; of a case that failed little is known."""
    plain = entry.plain
    return {
        "case": entry.case,
        "patient": entry.patient,
        "visit": entry.visit,
        "state": "failed" if entry.failed else "reported",
        "reason": entry.reason,
        "report": entry.page,
        "reported": plain.get("date", ""),
        "task": plain.get("task", ""),
        "model": entry.model,
        "used": ", ".join(plain.get("used", ())),
        "missing": ", ".join(plain.get("missing", ())),
        "notes": float(len(plain["notes"])) if plain else math.nan,
    }


def table(entries: Sequence[Entry]) -> tuple[list[str], list[dict[str, Value]]]:
    """Columns, in an order that does not depend on that of the cases, and a row a case."""
    found = [measured(entry) for entry in entries]
    columns = sorted({column for cells in found for column in cells})
    rows = [
        facts(entry) | {column.name: value for column, value in cells.items()}
        for entry, cells in zip(entries, found)
    ]
    return [*facts(Entry("", "")), *(column.name for column in columns)], rows


def as_csv(entries: Sequence[Entry]) -> bytes:
    """The table as UTF-8 that no spreadsheet takes for a formula; what is not known is empty."""
    columns, rows = table(entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
    return text.getvalue().encode("utf-8")


def _cell(value: Value) -> Any:
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else cell(value)


def as_parquet(entries: Sequence[Entry]) -> bytes:
    """The table with types: float64 where all is numbers, else text; null is what is not known."""
    arrow = require("pyarrow", "report")
    parquet = require("pyarrow.parquet", "report")
    columns, rows = table(entries)
    made = arrow.table(
        {column: _typed(arrow, [row.get(column) for row in rows]) for column in columns}
    )
    buffer = io.BytesIO()
    parquet.write_table(made.replace_schema_metadata({"format": FORMAT}), buffer)
    return buffer.getvalue()


def _typed(arrow: Any, values: Sequence[Value | None]) -> Any:
    known = [None if isinstance(one, float) and math.isnan(one) else one for one in values]
    if any(isinstance(one, str) for one in known):
        texts = [None if one is None else str(one) for one in known]
        return arrow.array(texts, type=arrow.string())
    return arrow.array(known, type=arrow.float64())


SHEETS = {"csv": as_csv, "parquet": as_parquet}
