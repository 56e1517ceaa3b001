"""History: what the files of a run's folder say of its training, with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files
from oncoseg.errors import BadFile
from oncoseg.train.spread import Rows, Spread, spread

RECORD = "training.json"
LATE = 0.75  # of the time, from which on a rise is still one


@dataclass(frozen=True)
class Look:
    """One validation while it trained: Dice by case and region on the plan's grid."""

    step: int
    seconds: float
    rows: Rows


@dataclass(frozen=True)
class History:
    """What the files of a run's folder say; what is not there yet is empty."""

    folder: Path
    kept: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    final: Mapping[str, Any]
    folds: int = 0  # of the cross-validation that `final` is of; 0 if it is of this model

    @property
    def looks(self) -> list[Look]:
        """The validations, the first first."""
        return [
            Look(line["step"], line["seconds"], line["cases"])
            for line in self.lines
            if line.get("cases")
        ]

    @property
    def regions(self) -> list[str]:
        """All regions, in the order of the plan."""
        return list(self.kept.get("regions", ()))

    @property
    def finished(self) -> bool:
        """Whether the model is written, which is what a training ends with."""
        return self.folder.with_suffix(".onco").exists() and self.done >= 1

    @property
    def done(self) -> float:
        """Share of the training that is done."""
        return float(self.kept.get("done", 0.0))

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return float(max([self.kept.get("seconds", 0.0), *(one["seconds"] for one in self.lines)]))

    def spread(self, rows: Rows, region: str = "") -> Spread:
        """Of a region, or of the mean of all regions of a case; NaN without a value."""
        values = {case: _value(row, region) for case, row in rows.items()}
        return self.of({case: value for case, value in values.items() if math.isfinite(value)})

    def of(self, values: Mapping[str, float]) -> Spread:
        """Of one value a case."""
        return spread(values, {**self.kept.get("patients", {}), **self.final.get("patients", {})})

    def rise(self) -> tuple[Spread, float] | None:
        """How Dice of the same cases has changed since three quarters of the time, in seconds."""
        looks = self.looks
        early = [one for one in looks if one.seconds <= LATE * looks[-1].seconds]
        if not early:
            return None
        last, before = looks[-1], early[-1]
        both = {
            case: _value(last.rows[case]) - _value(before.rows[case])
            for case in last.rows
            if case in before.rows
        }
        changes = {case: value for case, value in both.items() if math.isfinite(value)}
        return self.of(changes), last.seconds - before.seconds

    def losses(self) -> dict[str, list[tuple[float, float]]]:
        """Loss -> (seconds, value) of every step that was noted."""
        noted = {step: (seconds, values) for step, seconds, values in self.kept.get("losses", ())}
        for line in self.lines:
            if line.get("loss"):
                noted[line["step"]] = (line["seconds"], line["loss"])
        found: dict[str, list[tuple[float, float]]] = {}
        for _, (seconds, values) in sorted(noted.items()):
            for name, value in values.items():
                found.setdefault(name, []).append((seconds, value))
        return found


def _value(row: Mapping[str, float], region: str = "") -> float:
    """Of a region, or the mean of all; NaN where none was looked for."""
    if region:
        return float(row.get(region, math.nan))
    return float(np.mean(list(row.values()))) if row else math.nan


def read(folder: Path) -> History:
    """What there is; a file that is not whole counts as not there."""
    lines = []
    metrics = folder / "metrics.jsonl"
    for text in metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else ():
        try:
            line = files.parsed_json(text)
        except ValueError:
            continue  # half a line of a process that was killed
        if isinstance(line, dict) and {"step", "seconds"} <= line.keys():
            lines.append(line)
    final, pooled = (record(folder / f"{name}.json") for name in ("validation", "crossvalidation"))
    if final or not pooled.get("cases"):
        return History(folder, kept(folder), lines, final)
    folds = 1 + max(row["fold"] for row in pooled["cases"].values())
    cases = {
        case: {name: row[name] for name in pooled["dice"] if name in row}
        for case, row in pooled["cases"].items()
    }
    return History(folder, kept(folder), lines, {**pooled, "cases": cases}, folds)


def kept(folder: Path) -> dict[str, Any]:
    """What the training told for its page."""
    found: dict[str, Any] = record(folder / RECORD)
    return found


def record(path: Path, kind: type = dict) -> Any:
    """What a JSON file holds, empty where it is not there or not of this kind."""
    try:
        found = files.read_json(path) if path.exists() else kind()
    except BadFile:
        return kind()
    return found if isinstance(found, kind) else kind()
