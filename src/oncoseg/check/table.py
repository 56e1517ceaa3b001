"""What check answers: as a table for people, as plain data for machines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from oncoseg.check.records import MENTIONED, Problem, Seen, base, few, numbers
from oncoseg.errors import printable

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Checked:
    """What was found in a data set: its cases, and problems from the worst on."""

    folder: str
    layout: str
    cases: tuple[Seen, ...]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def errors(self) -> int:
        """How many problems keep a case, or all of them, from being used."""
        return sum(problem.severity == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        counts = Counter(problem.severity for problem in self.problems)
        cases = [asdict(case) for case in self.cases]
        for case in cases:
            del case["problems"]
        return {
            "folder": self.folder,
            "layout": self.layout,
            "counts": {severity: counts[severity] for severity in SEVERITIES},
            "problems": [asdict(problem) for problem in self.problems],
            "cases": cases,
        }

    def table(self) -> str:
        """What there is, and every problem: equal ones share a line, which shows the first."""
        lines = [
            f"{printable(self.folder)}: {len(self.cases)} cases, layout {self.layout or 'unknown'}"
        ]
        lines += _overview(self.cases) if self.cases else []
        grouped: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
        for problem in self.problems:
            cause = problem.cause.partition(": ")[0] if problem.kind == "outlier" else problem.cause
            grouped[problem.severity, cause, problem.remedy].append(problem)
        rows = [("severity", "case", "cause", "remedy")] if grouped else []
        for (severity, _, remedy), some in grouped.items():
            one = len(some) == 1 and some[0].path
            cause = f"{base(some[0].path)}: {some[0].cause}" if one else some[0].cause
            rows.append((severity, few([problem.case for problem in some]), cause, remedy))
        lines += ["", *_aligned(rows)] if rows else []
        counts = Counter(problem.severity for problem in self.problems)
        told = ", ".join(
            f"{counts[word]} {word}{'s' * (counts[word] > 1)}"
            for word in SEVERITIES
            if counts[word]
        )
        return "\n".join([*lines, "", told or "nothing is wrong"])


def _overview(cases: Sequence[Seen]) -> list[str]:
    """A line each modality: in how many cases, and from what to what."""
    names = dict.fromkeys(image.name for case in cases for image in case.images)
    rows = [("modality", "cases", "shape", "spacing", "values")]
    for name in names:
        some = [image for case in cases for image in case.images if image.name == name]
        dims = {len(image.shape) for image in some}
        same = len(dims) == 1
        shapes = _span([image.shape for image in some]) if same else "2-D and 3-D"
        spacings = _span([image.spacing for image in some]) if same else ""
        low, high = min(one.range[0] for one in some), max(one.range[1] for one in some)
        rows.append((name, f"{len(some)}/{len(cases)}", shapes, spacings, f"{low:g} to {high:g}"))
    labelled = sum(bool(case.values) for case in cases)
    voxels: Counter[int] = Counter(value for case in cases for value in case.values)
    told = ", ".join(f"{value} in {count}" for value, count in sorted(voxels.items())[:MENTIONED])
    return [*_aligned(rows), f"labelled: {labelled} cases" + (f" (label {told})" if told else "")]


def _span(several: Sequence[tuple[float, ...]]) -> str:
    low, high = np.min(several, axis=0), np.max(several, axis=0)
    if (low == high).all():
        return numbers(low)
    return f"{numbers(low)} to {numbers(high)}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in clean
    ]
