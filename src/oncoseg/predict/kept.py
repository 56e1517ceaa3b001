"""What is whole stays whole: a case is not predicted again if its record says the same as now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncoseg import __version__, files, results
from oncoseg.blocks.layouts import by_file
from oncoseg.case import Source, Task
from oncoseg.errors import BadData, BadFile
from oncoseg.write import identify

DETACHED = (".nhdr", ".mhd")  # their voxels are in another file


def kept(
    source: Source, folder: Path, task: Task, model: Mapping[str, str], asked: Mapping[str, Any]
) -> bool:
    """Whether `folder` holds what predicting the case would give.

    True if its record is of this version, model and options and of these very files (by path and
    checksum), and its own files are there, the label map as it was written.
    """
    try:
        record = files.read_json(folder / f"{files.plain_name(source.case)}.json")
    except (BadData, BadFile):
        return False
    within = by_file(source)
    named = {name: path for path, names in within.items() for name in names}
    images = {name: path for name, path in named.items() if name in task.modalities}
    several = [names for names in within.values() if len(names) > 1]
    channels = {name: place for names in several for place, name in enumerate(names)}
    if any(path.suffix in DETACHED for path in images.values()):
        return False
    said = {
        "format": results.FORMAT,
        "oncoseg": __version__,
        "case": source.case,
        "asked": dict(asked),
        "model": dict(model),
        "channels": {name: place for name, place in channels.items() if name in images},
    }
    try:
        return (
            {name: record[name] for name in said} == said
            and {name: Path(path).absolute() for name, path in record["images"].items()}
            == {name: path.absolute() for name, path in images.items()}
            and all((folder / name).is_file() for name in record["files"])
            and files.sha256(folder / record["label"]) == record["label_sha256"]
            and len(record["inputs"]) == len(images)
            and record["inputs"] == identify(images)
        )
    except (AttributeError, KeyError, OSError, TypeError):
        return False  # no record, or none that can be told
