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
from oncoseg.report import private
from oncoseg.report.cohort.courses import courses, followed
from oncoseg.report.cohort.page import Cohort, Plot, page
from oncoseg.report.cohort.sheet import SHEETS, Entry
from oncoseg.report.cohort.visits import Visit
from oncoseg.write import Pseudonyms

PAGE = "index.html"
NAMED = 5  # cases or patients that a sentence names
UNTOLD = "The command said why, to whom it was given; the reason may name the patient."


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
            path = reports[case]
            plain = files.read_json(path.with_name(f"{path.stem}.report.json"))
            entry = replace(entry, page=path.name, plain=plain)
        if case in visits:
            told = visits[case]
            entry = replace(entry, patient=told.patient, visit=told.text, day=told.day)
        found.append(entry)
    found = found if visits else _numbered(found)
    return _hidden(found, pseudonyms, dated=bool(visits)) if pseudonyms else found


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


def _hidden(found: Sequence[Entry], pseudonyms: Pseudonyms, *, dated: bool) -> list[Entry]:
    """Cases of a cohort under their new names; dates of visits become days since the first."""
    first: dict[str, float] = {}
    for one in found:
        first[one.patient] = min(one.day, first.get(one.patient, math.inf))
    made = []
    for one in found:
        days = f"day {one.day - first[one.patient]:g}" if one.visit and dated else one.visit
        hidden = replace(
            one,
            case=private.named(one.case, pseudonyms),
            patient=private.patient(one.patient, pseudonyms),
            reason=UNTOLD if one.reason else "",
            visit=days,
        )
        made.append(hidden)
    return sorted(made, key=lambda one: one.case)


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
    text = page(Cohort(entries, date, plots, notes))
    made = [
        files.write_bytes(to / f"cohort.{kind}", sheet(entries))
        for kind, sheet in SHEETS.items()
        if kind == "csv" or kind in kinds
    ]
    return [*made, files.write_text(to / PAGE, text)]


def _plots(entries: Sequence[Entry], *, dated: bool) -> tuple[list[Plot], list[str]]:
    found, told = [], []
    for one in followed(entries, dated=dated):
        made, said = courses(one.rows)
        told += [f"Over time, {one.what}: {sentence}" for sentence in said]
        found.append(Plot(one.what, made, "months" if one.dated else "visit", one.lines))
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
    models = Counter(entry.model for entry in done)
    tasks = Counter(str(entry.plain["task"]) for entry in done)
    for what, kinds in (("models", models), ("tasks", tasks)):
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


def _inputs(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Checksums of the images, by which the same scan is known under another name."""
    said = plain["provenance"]
    return tuple(
        text for name, text in said.items() if name.startswith("Input ") and "SHA-256" in name
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
