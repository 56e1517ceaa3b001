"""What came out of a comparison, and how it is written: page, JSON, CSV, plain text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from oncoseg import __version__, files
from oncoseg.compare.ranking import Pair, Table
from oncoseg.evaluate.table import Summary, cell, plain
from oncoseg.protocol import Protocol

FORMAT = "oncoseg-comparison-1"


@dataclass(frozen=True)
class Standing:
    """An algorithm's place: `score` by the protocol's scheme (less is better), and its rank.

    `low` and `high` hold 95 % of its ranks when patients are drawn anew, `first` is the share of
    draws in which it is first, `shares` those of the ranks 1, 1.5, 2, ...
    """

    algorithm: str
    rank: float
    score: float
    low: float
    high: float
    first: float
    shares: tuple[float, ...]
    missing: int
    failed: int


@dataclass(frozen=True)
class Group:
    """The mean of a measure over the cases of one group, with its interval over patients."""

    column: str
    group: str
    algorithm: str
    region: str
    metric: str
    mean: float
    low: float
    high: float
    n: int
    undefined: int


@dataclass(frozen=True)
class Extra:
    """A table that a protocol has beside those of all: the first of `head` names the rows."""

    heading: str
    text: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that the page shows; `standings` are best first, `notes` must be seen.

    `regions` are the label values with which each algorithm was evaluated, None for its own.
    `folders` hold what pictures show of each algorithm beside `truths`, `caption` says what that is
    where it is not what was compared.
    """

    protocol: Protocol
    folders: Mapping[str, str]
    reference: str
    regions: Mapping[str, Mapping[str, Sequence[int]] | None]
    table: Table
    standings: tuple[Standing, ...]
    summaries: Mapping[str, tuple[Summary, ...]]
    statuses: Mapping[str, Mapping[str, str]]
    described: Mapping[str, Mapping[str, Any]]
    ranked: tuple[tuple[str, str], ...]
    costs: Mapping[str, Mapping[str, float]]
    tau: tuple[float, float]
    pairs: tuple[Pair, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    samples: int
    seed: int
    truths: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    caption: str = ""

    def summary(self, algorithm: str, region: str, metric: str) -> Summary:
        """The mean of one measure, with its interval and counts."""
        return next(
            one for one in self.summaries[algorithm] if (one.region, one.metric) == (region, metric)
        )

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return len(set(self.table.patients))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null stands for what is undefined or not known."""
        tau, low = self.tau
        return {
            "format": FORMAT,
            "oncoseg": __version__,
            "protocol": self.protocol.as_dict(),
            "algorithms": list(self.table.algorithms),
            "reference": Path(self.reference).name,
            "cases": len(self.table.cases),
            "patients": self.patients,
            "advice": self.advice(),
            "standings": [_deep(asdict(one)) for one in self.standings],
            "costs": {name: dict(found) for name, found in self.costs.items()},
            "stability": _deep({"kendall_tau": tau, "tau_reached_by_95_percent": low}),
            "summary": [
                {"algorithm": name, **plain(asdict(one))}
                for name, found in self.summaries.items()
                for one in found
            ],
            "pairs": [
                {**plain(asdict(one)), "better": one.better, "significant": one.significant}
                for one in self.pairs
            ],
            "groups": [plain(asdict(one)) for one in self.groups],
            "tables": [asdict(one) for one in self.extras],
            "samples": self.samples,
            "seed": self.seed,
            "notes": list(self.notes),
        }

    def advice(self) -> str:
        """Which one to choose, in a sentence that claims no more than the tests."""
        from oncoseg.compare.advice import advice  # noqa: PLC0415

        return advice(self.standings, self.pairs, self.costs)

    def write(self, folder: Path, *, pictures: bool = True) -> list[Path]:
        """Write `comparison.html`, `comparison.json`, and CSV of leaderboard, pairs and cases.

        Without `pictures` no part of a scan is on the page.
        """
        from oncoseg.compare.page import page  # noqa: PLC0415

        folder = Path(folder)
        means = (
            (one.algorithm, one.rank, *astuple(summary))
            for one in self.standings
            for summary in self.summaries[one.algorithm]
        )
        head = ["algorithm", "rank", *(field.name for field in fields(Summary))]
        written = [
            files.write_json(folder / "comparison.json", self.as_dict()),
            files.write_text(folder / "leaderboard.csv", _csv(head, means)),
            files.write_text(
                folder / "pairs.csv",
                _csv([field.name for field in fields(Pair)], map(astuple, self.pairs)),
            ),
            files.write_text(folder / "cases.csv", self._cases()),
        ]
        if self.groups:
            head = [field.name for field in fields(Group)]
            text = _csv(head, map(astuple, self.groups))
            written.append(files.write_text(folder / "groups.csv", text))
        return [
            *written,
            files.write_text(folder / "comparison.html", page(self, pictures=pictures)),
        ]

    def _cases(self) -> str:
        table = self.table
        rows = (
            (case, table.patients[index], *measure, *table.values[:, place, index].tolist())
            for index, case in enumerate(table.cases)
            for place, measure in enumerate(table.measures)
        )
        return _csv(["case", "patient", "region", "metric", *table.algorithms], rows)

    def text(self) -> str:
        """The leaderboard as plain text, what to choose, and the notes."""
        columns = [f"{metric} {region}" for region, metric in self.ranked]
        lines = [("rank", "algorithm", *columns, "n", "undefined", "missing or failed")]
        for one in self.standings:
            found = [self.summary(one.algorithm, *measure) for measure in self.ranked]
            n = min(summary.n for summary in found)
            undefined = max(summary.undefined for summary in found)
            means = [f"{_short(s.mean)} ({_short(s.low)} to {_short(s.high)})" for s in found]
            counts = (str(n), str(undefined), str(one.missing + one.failed))
            lines.append((f"{one.rank:g}", one.algorithm, *means, *counts))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([*text, self.advice(), *(f"Note: {note}" for note in self.notes)])


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _deep(record: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data, also inside of tuples."""
    lists = {key: list(value) for key, value in record.items() if isinstance(value, tuple)}
    clean = {
        key: [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
        for key, values in lists.items()
    }
    return {**plain(record), **clean}


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(name) for name in head])
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()
