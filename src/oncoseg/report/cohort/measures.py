"""How measures spread over a cohort, and by which rule a case stands out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oncoseg.report.cohort.sheet import BARE, Entry

# What is drawn of the findings that every report has; of further ones all, if they are so few.
DRAWN = ("volume", "area", "longest diameter", "3-D diameter", "components")
DICE = ("predicted Dice", "expected Dice")
FEW = 8
SIZES = ("ml", "mm", "mm²", "mm³", "px")
FENCE, LEAST = 1.5, 8

RULE = (
    f"A value stands out if it lies more than {FENCE:g} times the distance of the quartiles beyond "
    "them (Tukey's fences); of sizes their logarithms are compared, of Dice only the low side "
    f"counts. It takes {LEAST} cases in which there is something to measure, and about one value "
    "in 140 stands out by chance alone."
)


@dataclass(frozen=True)
class Measure:
    """One measure over all cases: region -> `values`, each with its case; "" is of the whole case.

    `zeros` counts regions of which nothing was found, which are not among the values.
    """

    name: str
    unit: str
    values: Mapping[str, Sequence[tuple[Entry, float]]]
    zeros: Mapping[str, int]

    @property
    def title(self) -> str:
        """`Volume (ml)`."""
        name = self.name[:1].upper() + self.name[1:]
        return f"{name} ({self.unit})" if self.unit else name

    @property
    def log(self) -> bool:
        """Whether values are compared by their logarithms."""
        return self.unit in SIZES

    def fences(self, region: str) -> tuple[float, float]:
        """What lies beyond stands out; infinite where cases are too few or too alike."""
        values = np.array([value for _, value in self.values[region]])
        if len(values) < LEAST:
            return -math.inf, math.inf
        values = np.log(values) if self.log else values
        low, high = (float(value) for value in np.percentile(values, (25, 75)))
        reach = FENCE * (high - low)
        if reach <= 1e-9 * max(abs(low), abs(high)):
            return -math.inf, math.inf
        ends = (low - reach, math.inf if self.name in DICE else high + reach)
        return (math.exp(ends[0]), math.exp(ends[1])) if self.log else ends


def measures(entries: Sequence[Entry]) -> list[Measure]:
    """What is drawn, in the order in which reports hold it; Dice is predicted where it can be."""
    groups: dict[tuple[str, str], dict[str, list[tuple[Entry, float]]]] = {}
    for entry in entries:
        kept = _kept(entry)
        for finding, row in entry.rows:
            if (finding, row["name"]) in kept and not isinstance(row["value"], str):
                group = groups.setdefault((row["name"], str(row["unit"])), {})
                group.setdefault(row.get("region", ""), []).append((entry, float(row["value"])))
    made = []
    for (name, unit), regions in groups.items():
        values = {
            region: [
                (entry, value)
                for entry, value in every
                if region not in entry.empty and (value > 0 or unit not in SIZES)
            ]
            for region, every in regions.items()
        }
        zeros = {region: len(regions[region]) - len(values[region]) for region in regions}
        made.append(Measure(name, unit, values, zeros))
    return made


def _kept(entry: Entry) -> set[tuple[str, str]]:
    """(finding, name) of what is looked at."""
    names: dict[str, set[str]] = {}
    for finding, row in entry.rows:
        if not isinstance(row["value"], str):
            names.setdefault(finding, set()).add(row["name"])
    kept = {
        (finding, name)
        for finding, several in names.items()
        for name in several
        if name in DRAWN or (finding not in BARE and len(several) <= FEW)
    }
    dice = [name for name in DICE if name in names.get("quality", ())]
    return kept | {("quality", name) for name in dice[:1]}


def outliers(found: Sequence[Measure]) -> Iterator[tuple[Entry, str]]:
    """Each case that stands out, and the sentence that says in what."""
    for measure in found:
        for region, values in measure.values.items():
            low, high = measure.fences(region)
            what = " ".join(filter(None, (measure.name, region)))
            for entry, value in values:
                if not low <= value <= high:
                    side, fence = ("below", low) if value < low else ("above", high)
                    told = f"{what} {value:.4g} {measure.unit}".strip()
                    yield entry, f"{told}, {side} {fence:.4g}"
