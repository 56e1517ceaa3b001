"""DICOMDIR: the files that a medium's index names, all of them and none from outside it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from oncoseg.blocks.instances import instance, shown, understood
from oncoseg.errors import BadFile

NAME = "DICOMDIR"
LEVELS = 6  # standard media have at most eight levels; a series lies a few below the index


def index_of(folder: Path) -> Path | None:
    """The DICOMDIR right in a folder, if there is one."""
    found = [path for path in folder.iterdir() if path.name.upper() == NAME and path.is_file()]
    return found[0] if found else None


def above(folder: Path) -> Path | None:
    """The nearest DICOMDIR in a folder or in those around it."""
    for place in (folder, *folder.resolve().parents[:LEVELS]):
        try:
            found = index_of(place)
        except OSError:  # no right to look further up
            return None
        if found:
            return found
    return None


def listed(index: Path, series: Container[str] = ()) -> list[Path]:
    """The files that a DICOMDIR names, in its order, each once; those of some `series` alone.

    Raises `BadFile` if one is missing, or lies outside of the DICOMDIR's own folder.
    """
    head = instance(index, whole=True).head
    files: dict[Path, None] = {}
    missing = []
    with understood(index):
        for name in _names(head.get("DirectoryRecordSequence") or (), series):
            found = _confined(index, name)
            if found is None:
                missing.append(shown(name))
            else:
                files[found] = None
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        cause = f"names {len(missing)} files that are missing ({named})"
        raise BadFile(index, cause, "copy the whole medium again")
    return list(files)


def _names(records: Iterable[Any], series: Container[str]) -> Iterator[str]:
    """What active records name; a series' own records follow it."""
    uid = ""
    for record in records:
        uid = str(record.get("SeriesInstanceUID", uid))
        words = record.get("ReferencedFileID")
        if not words and record.get("DirectoryRecordType") == "IMAGE":
            raise ValueError("it lists an image without its file")
        if words and record.get("RecordInUseFlag") != 0 and (not series or uid in series):
            yield "/".join([words] if isinstance(words, str) else words)


def _confined(index: Path, name: str) -> Path | None:
    """The file below the index, letters of either case; None if it is missing."""
    parts = [part.strip() for part in name.replace("\\", "/").split("/")]
    if any(part in ("", ".", "..") or ":" in part or "\0" in part for part in parts):
        cause = f"names a file outside of its folder ({shown(name)})"
        raise BadFile(index, cause, "do not use it: give the folder with the scan itself")
    root = index.parent
    place = root
    for part in parts:
        inner = place / part
        if not inner.exists() and place.is_dir():
            same = (path for path in place.iterdir() if path.name.lower() == part.lower())
            inner = next(same, inner)
        place = inner
    if not place.resolve().is_relative_to(root.resolve()):
        cause = f"names a link that leads outside of its folder ({shown(name)})"
        raise BadFile(index, cause, "do not use it: give the folder with the scan itself")
    return place if place.is_file() else None
