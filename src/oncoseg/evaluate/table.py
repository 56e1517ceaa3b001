"""What came out: a row for each case, region and metric, and means with intervals over patients."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import __version__, files
from oncoseg.blocks.statistics import interval
from oncoseg.errors import printable, unknown

FORMAT = "oncoseg-evaluation-1"
LEVEL = 95
UNDEFINED = "undefined"  # the status of what cannot be measured on a case's grid


@dataclass(frozen=True)
class Row:
    """One value: NaN if it is undefined or there is no truth; volumes are NaN if not known.

    `status` is "ok", "missing" (no prediction), "no truth", "failed: " or "undefined: " and why.
    """

    case: str
    patient: str
    region: str
    metric: str
    value: float
    status: str
    predicted_ml: float
    true_ml: float


@dataclass(frozen=True)
class Summary:
    """One metric in one region over all cases with a truth.

    `n` values are averaged and `undefined` ones are not; `failed` of the n stand for a missing or
    broken case. `low` and `high` bound the mean (95 %, percentiles of a bootstrap over patients).
    """

    region: str
    metric: str
    unit: str
    higher: bool
    mean: float
    median: float
    low: float
    high: float
    n: int
    undefined: int
    failed: int
    worst: float
    worst_case: str


@dataclass(frozen=True)
class Evaluation:
    """Rows, their summary, and notes, sentences that a reader must see.

    `metrics` says of each its `unit`, whether `higher` is better, and its rule for `empty` masks.
    `reliability` holds the bins of each region where metrics of probabilities were asked for.
    """

    rows: tuple[Row, ...]
    summary: tuple[Summary, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    samples: int = 2000
    seed: int = 0
    reliability: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        metrics: Mapping[str, Mapping[str, Any]],
        *,
        notes: tuple[str, ...] = (),
        samples: int = 2000,
        seed: int = 0,
    ) -> Evaluation:
        """Summarise rows; infinite values become the worst finite one of region and metric."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            groups.setdefault((row.region, row.metric), []).append(row)
        bounded = {key: _bounded(group) for key, group in groups.items()}
        summary = tuple(
            _summary(group, metrics[metric], samples, seed)
            for (_, metric), group in bounded.items()
        )
        if any(one.n > 0 and not math.isfinite(one.low) for one in summary):
            notes = (*notes, "There are no intervals over fewer than two patients or samples.")
        flat = [row for group in bounded.values() for row in group]
        flat.sort(key=lambda row: row.case)
        return cls(tuple(flat), summary, metrics, notes, samples, seed)

    @property
    def failed(self) -> dict[str, str]:
        """Case -> its status, for every case that is missing, failed or could not be measured."""
        bad = [row for row in self.rows if row.status not in ("ok", "no truth")]
        return {row.case: row.status for row in bad}

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Region -> metric -> the mean over cases; NaN if no case has a value."""
        found: dict[str, dict[str, float]] = {}
        for one in self.summary:
            found.setdefault(one.region, {})[one.metric] = one.mean
        return found

    def mean(self, region: str, metric: str) -> float:
        """The mean over cases; NaN if no case has a value. Raises `UnknownName`."""
        means = self.means
        if region not in means:
            raise unknown("region", region, means)
        if metric not in means[region]:
            raise unknown("metric", metric, self.metrics)
        return means[region][metric]

    def table(self) -> str:
        """Plain text: a line a region and metric, then the notes; an arrow points to better."""
        head = ("region", "metric", "mean", f"{LEVEL} % CI", "median", "worst", "n", "undefined")
        lines = [head, *(_line(one) for one in self.summary)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = [
            "  ".join(
                cell.ljust(width) if column in (0, 1, 5) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in lines
        ]
        failed = max((one.failed for one in self.summary), default=0)
        counted = [f"Of these cases, {failed} missing or failed, counted as worst."] * bool(failed)
        return "\n".join([*text, *(f"Note: {note}" for note in (*counted, *self.notes))])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null stands for what is undefined or not known."""
        return {
            "format": FORMAT,
            "oncoseg": __version__,
            "metrics": {name: dict(said) for name, said in self.metrics.items()},
            "interval": {
                "level": LEVEL,
                "method": "percentiles of a bootstrap over patients",
                "samples": self.samples,
                "seed": self.seed,
            },
            "summary": [plain(asdict(one)) for one in self.summary],
            "rows": [plain(asdict(row)) for row in self.rows],
            "notes": list(self.notes),
            **({"reliability": dict(self.reliability)} if self.reliability else {}),
        }

    def write(self, folder: Path) -> list[Path]:
        """Write `evaluation.json`, `cases.csv` and `summary.csv`, each at once or not at all."""
        folder = Path(folder)
        return [
            files.write_json(folder / "evaluation.json", self.as_dict()),
            files.write_text(folder / "cases.csv", _csv(Row, self.rows)),
            files.write_text(folder / "summary.csv", _csv(Summary, self.summary)),
        ]


def _bounded(rows: Sequence[Row]) -> list[Row]:
    """Only metrics that are better when lower have no bound, so their worst is the largest."""
    finite = [row.value for row in rows if math.isfinite(row.value)]
    worst = max(finite, default=float("nan"))
    return [replace(row, value=worst) if math.isinf(row.value) else row for row in rows]


def _summary(rows: Sequence[Row], metric: Mapping[str, Any], samples: int, seed: int) -> Summary:
    counted = [row for row in rows if row.status != "no truth"]
    defined = [row for row in counted if not math.isnan(row.value)]
    values = np.array([row.value for row in defined])
    low, high = interval(values, [row.patient for row in defined], samples=samples, seed=seed)
    pick = min if metric["higher"] else max
    worst = pick(defined, key=lambda row: row.value, default=None)
    return Summary(
        region=rows[0].region,
        metric=rows[0].metric,
        unit=metric["unit"],
        higher=metric["higher"],
        mean=float(values.mean()) if len(values) else float("nan"),
        median=float(np.median(values)) if len(values) else float("nan"),
        low=low,
        high=high,
        n=len(defined),
        undefined=len(counted) - len(defined),
        failed=sum(row.status != "ok" for row in defined),
        worst=worst.value if worst else float("nan"),
        worst_case=worst.case if worst else "",
    )


def _line(one: Summary) -> tuple[str, ...]:
    """The cells of one line of the table."""
    metric = " ".join(filter(None, (one.metric, one.unit, "↑" if one.higher else "↓")))
    between = f"{_number(one.low)} to {_number(one.high)}" if math.isfinite(one.low) else "-"
    worst = f"{_number(one.worst)} ({one.worst_case})" if one.worst_case else "-"
    counts = (str(one.n), str(one.undefined))
    return (one.region, metric, _number(one.mean), between, _number(one.median), worst, *counts)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    if 0 < abs(value) < 0.01:  # as calibration errors are
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record for JSON: null stands for what is no finite number."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


def _csv(kind: type[Row | Summary], records: Sequence[Row | Summary]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in fields(kind)])
    writer.writerows([cell(value) for value in astuple(record)] for record in records)
    return text.getvalue()


def cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted; NaN is an empty cell.

    Control characters become escapes, so that no cell ends where it should not.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    if not isinstance(value, str):
        return value
    value = printable(value)  # a lone carriage return would begin another cell
    start = unicodedata.normalize("NFKC", value.lstrip()[:1])
    return f"'{value}" if start in ("=", "+", "-", "@") else value
