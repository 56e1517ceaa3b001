"""What the records of 'oncoseg predict' say of an algorithm: its regions, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files
from oncoseg.errors import BadData, BadFile, OncosegError
from oncoseg.protocol import Protocol
from oncoseg.read import find
from oncoseg.results import FORMAT

MEASURED = {"seconds": "Seconds a case", "peak_mb": "Peak memory, MB"}
BUILT = {"parameters": "Parameters", "flops": "FLOPs of a patch"}
KINDS = {**MEASURED, **BUILT}
STATED = "costs.json"
UNITS = {"seconds": "s", "peak_mb": "MB", "parameters": "", "flops": ""}
STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def costs(
    folders: Mapping[str, Path], predicted: Mapping[str, Path] | None = None
) -> dict[str, dict[str, float]]:
    """Algorithm -> kind of cost -> its mean over cases (of memory the largest).

    By the records of predictions in `predicted` (else `folders`), or by `costs.json` in a folder,
    which states any of `KINDS` and wins. Raises `BadFile` if that holds anything else.
    """
    found: dict[str, dict[str, float]] = {}
    for name, folder in folders.items():
        held: dict[str, list[float]] = {}
        for path in (predicted or folders)[name].glob("*.json"):
            for kind, value in _held(path).items():
                held.setdefault(kind, []).append(value)
        means = {kind: float(np.mean(values)) for kind, values in held.items()}
        if "peak_mb" in held:
            means["peak_mb"] = max(held["peak_mb"])
        means |= _stated(folder / STATED)
        if means:
            found[name] = {kind: means[kind] for kind in KINDS if kind in means}
    return found


def _stated(path: Path) -> dict[str, float]:
    """The costs that a file states; none without a file."""
    if not path.exists():
        return {}
    said = files.read_json(path)
    if not isinstance(said, dict) or not all(_price(kind, said[kind]) for kind in said):
        known = ", ".join(KINDS)
        raise BadFile(path, "states no costs", f"give numbers above 0 by name, of {known}")
    return {kind: float(value) for kind, value in said.items()}


def _price(kind: str, value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind in KINDS and number and 0 < value < float("inf")


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
    """The costs in one record: of the case, and of the model as its card says."""
    record = _record(path)
    model = record.get("model")
    said = {**(model if isinstance(model, dict) else {}), **record}
    found = {}
    for kind in KINDS:
        try:
            value = float(said.get(kind, "nan"))
        except (TypeError, ValueError):
            continue
        if _price(kind, value):
            found[kind] = value
    return found


def priced(value: float, kind: str) -> str:
    """1.4 M, 9.69 G, 12.5 s."""
    for size, letter in STEPS if kind in ("parameters", "flops") else ():
        if value >= size:
            return f"{value / size:.3g} {letter}"
    figures = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{figures} {UNITS[kind]}".strip()


def minus(text: str) -> str:
    """A number's hyphen as the minus that it is."""
    return text.replace("-", "\N{MINUS SIGN}")
