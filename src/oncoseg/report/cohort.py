"""Reports of many: gathered from what each case's report holds, as a page and as a table."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.blocks.layouts import patient_of
from oncoseg.report import many, private
from oncoseg.report.courses import Visit, courses
from oncoseg.report.followed import followed
from oncoseg.report.sheet import SHEETS, Entry
from oncoseg.write import Pseudonyms

PAGE = "index.html"
NAMED = 5  # cases or patients that a sentence names


def gather(
    reports: Mapping[str, Path],
    failed: Mapping[str, str],
    visits: Mapping[str, Visit],
    pseudonyms: Pseudonyms = Pseudonyms(),  # noqa: B008 - frozen
) -> list[Entry]:
    """Case -> its page, beside which lies its `.report.json`; case -> why it has none -> entries.

    Where no visits are given, patients are those that the names of cases tell, and visits are
    numbered in the order of these names.
    """
    found = []
    for case in sorted({*reports, *failed}, key=_natural):
        entry = Entry(case, patient_of(case), reason=_bare(failed.get(case, "")))
        if case in reports:
            page = reports[case]
            plain = files.read_json(page.with_name(f"{page.stem}.report.json"))
            entry = replace(entry, page=page.name, plain=plain)
        if case in visits:
            told = visits[case]
            entry = replace(entry, patient=told.patient, visit=told.text, day=told.day)
        found.append(entry)
    found = found if visits else _numbered(found)
    return private.entries(found, pseudonyms, dated=bool(visits)) if pseudonyms else found


def _bare(reason: str) -> str:
    """Folders may carry patients' names: of the file that a sentence begins with its name stays."""
    file, colon, rest = reason.partition(": ")
    return re.split(r"[\\/]", file)[-1] + colon + rest


def _natural(case: str) -> list[tuple[bool, int, str]]:
    """`visit10` comes after `visit9`."""
    words = re.split(r"(\d+)", case)
    return [(word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in words]


def _numbered(entries: Sequence[Entry]) -> list[Entry]:
    count = Counter(entry.patient for entry in entries)
    so_far: Counter[str] = Counter()
    found = []
    for entry in entries:
        so_far[entry.patient] += 1
        number = so_far[entry.patient]
        several = count[entry.patient] > 1
        found.append(replace(entry, visit=str(number), day=float(number)) if several else entry)
    return found


def write(
    to: Path,
    entries: Sequence[Entry],
    date: str,
    kinds: Sequence[str] = (),
    *,
    dated: bool = False,
) -> list[Path]:
    """Write `cohort.csv`, such of `kinds` as are in `SHEETS`, and `index.html`.

    `dated`: the days of entries are days.
    """
    plots, told = _plots(entries, dated=dated)
    notes = [*_notes(entries), *told]
    page = many.page(many.Cohort(entries, date, plots, notes))
    made = [
        files.write_bytes(to / f"cohort.{kind}", sheet(entries))
        for kind, sheet in SHEETS.items()
        if kind == "csv" or kind in kinds
    ]
    return [*made, files.write_text(to / PAGE, page)]


def _plots(entries: Sequence[Entry], *, dated: bool) -> tuple[list[many.Plot], list[str]]:
    found, told = [], []
    for one in followed(entries, dated=dated):
        made, said = courses(one.rows)
        told += [f"Over time, {one.what}: {sentence}" for sentence in said]
        found.append(many.Plot(one.what, made, "months" if one.dated else "visit", one.lines))
    alone = [entry.case for entry in entries if dated and math.isnan(entry.day)]
    if alone:
        number = f"{len(alone)} cases have" if alone[1:] else "1 case has"
        verb = "are" if alone[1:] else "is"
        told.append(f"{number} no visit in the file, so {verb} in no course: {_some(alone)}.")
    if any(plot.courses and plot.unit == "visit" for plot in found):
        told.append(
            "Not all dates of scans are known, so courses are drawn by the order of visits; of "
            "several cases of a patient that is the order of their names (else give --visits)."
        )
    return found, told


def _notes(entries: Sequence[Entry]) -> Iterator[str]:
    """What a reader of the whole has to know before any number."""
    done = [entry for entry in entries if not entry.failed]
    if lost := [entry.case for entry in entries if entry.failed]:
        yield (
            f"{len(lost)} of {len(entries)} cases could not be reported: {_some(lost)}. They are "
            "listed with the reason, and are in no number below."
        )
    for what, key in (("models", _model), ("tasks", lambda plain: str(plain["task"]))):
        kinds = Counter(key(entry.plain) for entry in done)
        if len(kinds) > 1:
            each = [f"{name or 'not named'} ({count})" for name, count in kinds.most_common()]
            yield f"Cases are of different {what}: {_some(each)}; their measures may not compare."
    patients: dict[str, list[str]] = {}
    scans: dict[Any, list[str]] = {}
    for entry in done:
        patients.setdefault(entry.patient, []).append(entry.case)
        scans.setdefault(_inputs(entry.plain) or entry.case, []).append(entry.case)
    if several := [name for name, cases in patients.items() if cases[1:]]:
        number = f"{len(several)} patients have" if several[1:] else "1 patient has"
        yield f"{number} several cases, each of which counts: {_some(several)}."
    for cases in scans.values():
        if cases[1:]:
            yield f"The same scan was measured as {' and as '.join(cases)}: only one should count."


def _model(plain: Mapping[str, Any]) -> str:
    return " ".join(
        str(plain["model"][key]) for key in ("name", "version") if plain["model"].get(key)
    )


def _inputs(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Checksums of the images, by which the same scan is known under another name."""
    said = plain["provenance"]
    return tuple(
        text for name, text in said.items() if name.startswith("Input ") and "SHA-256" in name
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
