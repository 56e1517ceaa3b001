"""The curve of each region, its score and operating point, as records and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg import __version__
from oncoseg.blocks.froc import RATES, Froc, Point
from oncoseg.blocks.statistics import percentiles
from oncoseg.case import Array

FORMAT = "oncoseg-froc-1"


@dataclass(frozen=True)
class Curve:
    """One region: its curve, the score with its interval, and the operating point.

    `sampled` holds the sensitivity at `RATES` in each bootstrap sample (samples, 7); `chosen` says
    whether the point was asked for: if not, it is that of all candidates. `sizes` has a row for
    each third of the lesions, by size: from, to (ml; 2-D: mm²), how many, and how many the point
    finds.
    """

    region: str
    froc: Froc
    cases: int
    sampled: Array
    point: Point
    chosen: bool
    sizes: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null stands for what is not known."""
        froc, at = self.froc, self.froc.at(RATES)
        means = self.sampled.mean(axis=1)
        return {
            "lesions": froc.lesions,
            "cases": self.cases,
            "patients": froc.patients,
            "score": _valued(froc.score(), means),
            "sensitivity_at": {
                f"{rate:g}": _valued(float(value), some)
                for rate, value, some in zip(RATES, at, self.sampled.T)
            },
            "chosen": self.chosen,
            "point": self.point.as_dict(),
            "sizes": [dict(row) for row in self.sizes],
            "curve": [
                [round(float(value), 6) for value in row]
                for row in zip(froc.thresholds, froc.false_positives, froc.sensitivity)
            ],
        }


@dataclass(frozen=True)
class Curves:
    """The curves of all regions, and notes, sentences that a reader must see."""

    curves: tuple[Curve, ...]
    floor: float
    iou: float
    failed: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "format": FORMAT,
            "oncoseg": __version__,
            "floor": self.floor,
            "iou": self.iou,
            "regions": {curve.region: curve.as_dict() for curve in self.curves},
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """Plain text: a line a region, then what each point does and how to put it to use."""
        rows = [("region", "lesions", "cases", "FROC score", *(f"at {rate:g}" for rate in RATES))]
        for curve in self.curves:
            said = curve.as_dict()
            values = (f"{one['value']:.3f}" for one in said["sensitivity_at"].values())
            counts = (str(said["lesions"]), str(said["cases"]))
            rows.append((curve.region, *counts, _text(said["score"]), *values))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
        told = [told_of(curve) for curve in self.curves]
        return "\n".join([*map(str.rstrip, lines), *told, *(f"Note: {one}" for one in self.notes)])


def told_of(curve: Curve) -> str:
    """What the point does, and the words that put it to use."""
    point = curve.point.as_dict()
    ends = {name: {key: point[f"{name}{tail}"] for key, tail in
            (("value", ""), ("low", "_low"), ("high", "_high"))}
            for name in ("sensitivity", "false_positives")}  # fmt: skip
    found, false = _text(ends["sensitivity"]), _text(ends["false_positives"])
    does = f"finds {found} of the lesions with {false} false positives a case"
    if not curve.chosen:
        return f"{curve.region}: without a threshold, it {does}"
    step = f"operating_point:region={curve.region},threshold={curve.point.threshold:.6g}"
    use = f"oncoseg fit MODEL --posthoc {step},floor={curve.froc.floor:g} --to NEW"
    return f"{curve.region}: the threshold {curve.point.threshold:.4g} {does}; to use it: {use}"


def _valued(value: float, sampled: Array) -> dict[str, float | None]:
    ends = percentiles(sampled)
    rounded = [round(end, 6) if np.isfinite(end) else None for end in ends]
    return {"value": round(value, 6), "low": rounded[0], "high": rounded[1]}


def _text(said: Mapping[str, float | None]) -> str:
    if said["low"] is None:
        return f"{said['value']:.3f}"
    return f"{said['value']:.3f} ({said['low']:.3f} to {said['high']:.3f})"
