"""Check: every problem of a data set before any work, each with its cause and what to do.

Whatever prediction or training would refuse is an error; what they would take although it looks
wrong is a warning; what was decided while reading is a note. Everything is read by the readers that
the other verbs use, and no problem ends the search for others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from oncoseg.bar import bar
from oncoseg.blocks import layouts
from oncoseg.case import Source
from oncoseg.check.across import (
    grouping,
    kinds,
    labelling,
    missing,
    outliers,
    passed_over,
    twice,
    volumes,
)
from oncoseg.check.cases import look
from oncoseg.check.records import Image, Problem, Seen, failed
from oncoseg.check.table import SEVERITIES, Checked
from oncoseg.errors import OncosegError
from oncoseg.read import find, read_channels, read_label

__all__ = ["Checked", "Image", "Problem", "Seen", "check"]

THREADS = 4
SMALLEST = 10


def check(
    folder: Path,
    *,
    labels: Mapping[str, int] | None = None,
    modalities: Sequence[str] = (),
    smallest: int = SMALLEST,
) -> Checked:
    """Look at every case in `folder`, in any layout, and say everything that is wrong.

    `labels` and `modalities` are those that every case ought to have; without them, what the data
    set says of itself counts, then what most of its files have. Pieces of a label of fewer than
    `smallest` voxels are told.
    """
    folder = Path(folder)
    try:
        found = find(folder)
    except OncosegError as error:
        return _loose(folder, error)
    scheme = dict(labels or found.description.get("labels") or {}) or None
    if scheme and "ignore" in found.description and not labels:
        scheme["ignore"] = found.description["ignore"]

    def seen(source: Source) -> Seen:
        return look(source, scheme, smallest)

    cases = _each(seen, found.sources)
    problems = [problem for case in cases for problem in case.problems]
    problems += missing(cases, found, modalities)
    problems += [*labelling(folder, cases, scheme), *twice(cases), *grouping(cases)]
    problems += [
        *kinds(cases),
        *outliers(cases),
        *volumes(cases, scheme),
        *passed_over(folder, found),
    ]
    return Checked(str(folder), found.layout, tuple(cases), _sorted(problems))


def _each(one: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Unpacking and hashing let other threads run, so a few of them keep every core busy."""
    with ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1)) as pool:
        return list(bar(pool.map(one, items), "check", total=len(items)))


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    return tuple(sorted(problems, key=lambda one: (order[one.severity], one.kind, one.case)))


def _loose(folder: Path, error: OncosegError) -> Checked:
    """Where no layout fits, each scan is still read by itself."""
    problems = [failed(error, "layout")]
    every = [folder] if folder.is_file() else sorted(folder.rglob("*")) if folder.is_dir() else []
    paths = [path for path in every if layouts.ending(path) and not layouts.hidden(path)]

    def alone(path: Path) -> list[Problem]:
        said = layouts.parse(layouts.stem(path))
        try:
            read_label(path) if said.label else read_channels(path)
        except OncosegError as why:
            return [failed(why, "file", said.prefix)]
        return []

    problems += [problem for some in _each(alone, paths) for problem in some]
    return Checked(str(folder), "", (), _sorted(dict.fromkeys(problems)))
