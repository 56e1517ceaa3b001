"""What the records of 'oncoseg predict' say of an algorithm: its regions, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files
from oncoseg.errors import BadData, OncosegError
from oncoseg.protocol import Protocol
from oncoseg.read import find
from oncoseg.results import FORMAT

KINDS = {"seconds": "Seconds a case", "peak_mb": "Peak memory, MB"}


def costs(folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Algorithm -> kind of cost -> its mean over cases (of memory the largest)."""
    found: dict[str, dict[str, float]] = {}
    for name, folder in folders.items():
        held: dict[str, list[float]] = {}
        for path in folder.glob("*.json"):
            for kind, value in _held(path).items():
                held.setdefault(kind, []).append(value)
        means = {kind: float(np.mean(values)) for kind, values in held.items()}
        if "peak_mb" in held:
            means["peak_mb"] = max(held["peak_mb"])
        if means:
            found[name] = means
    return found


def own_regions(
    folder: Path, regions: Mapping[str, Sequence[int]]
) -> Mapping[str, Sequence[int]] | None:
    """None if the records define regions of these names by their own labels, else the regions."""
    for path in sorted(folder.glob("*.json")):
        task = _record(path).get("task")
        if isinstance(task, dict) and isinstance(task.get("regions"), dict):
            return None if set(regions) <= set(task["regions"]) else dict(regions)
    return dict(regions) or None


def labelled(rules: Protocol, reference: Path) -> dict[str, tuple[int, ...]]:
    """The label values of a protocol's regions in this data set, which may number them otherwise.

    Raises `BadData` if it names labels that no region of the protocol has.
    """
    wanted = dict(rules.regions)
    try:
        said = find(reference).description if wanted else {}
    except OncosegError:  # a folder of label maps says nothing of itself
        return wanted
    labels, regions = said.get("labels", {}), said.get("regions", {})
    if set(wanted) <= set(regions):
        return {name: tuple(int(labels[one]) for one in regions[name]) for name in wanted}
    known = {value for values in wanted.values() for value in values}
    extra = [f"{name} ({value})" for name, value in labels.items() if int(value) not in {0, *known}]
    if extra:
        cause = f"has the labels {', '.join(extra)}, which no region of protocol {rules.name} has"
        raise BadData(f"{reference}: {cause}; state the regions (--regions WT=1+2,TC=1)")
    return wanted


def _record(path: Path) -> dict[str, Any]:
    """A record; empty for other files, which the evaluation tells of."""
    try:
        record = files.read_json(path)
    except OncosegError:
        return {}
    known = isinstance(record, dict) and record.get("format") == FORMAT
    return record if known else {}


def _held(path: Path) -> dict[str, float]:
    """The costs in one record."""
    record = _record(path)
    values = {kind: record[kind] for kind in KINDS if kind in record}
    return {kind: float(v) for kind, v in values.items() if isinstance(v, (int, float))}
