"""What predictions cost: means over the records of 'oncoseg predict', where they say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from oncoseg import files
from oncoseg.errors import OncosegError
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


def _held(path: Path) -> dict[str, float]:
    """The costs in one record; none in other files, which the evaluation tells of."""
    try:
        record = files.read_json(path)
    except OncosegError:
        return {}
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return {}
    values = {kind: record[kind] for kind in KINDS if kind in record}
    return {kind: float(v) for kind, v in values.items() if isinstance(v, (int, float))}
