"""What algorithms cost beside what they reach, and which one to take for which budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from oncoseg.blocks.document import section
from oncoseg.compare import plots
from oncoseg.compare.advice import CLEARLY
from oncoseg.compare.markup import averaged, measured, named, tabled
from oncoseg.compare.records import Comparison
from oncoseg.compare.told import KINDS, priced


@dataclass(frozen=True)
class Choice:
    """From this cost on, the best-ranked algorithm that a budget allows."""

    algorithm: str
    cost: float


def front(comparison: Comparison, kind: str) -> list[Choice]:
    """Cheapest first: each ranks better than all that cost less; of similar costs the best one."""
    costs = comparison.costs
    known = [one for one in comparison.standings if kind in costs.get(one.algorithm, {})]
    known.sort(key=lambda one: (costs[one.algorithm][kind], one.rank))
    found: list[Choice] = []
    best = float("inf")
    for one in known:
        if one.rank < best:
            cost = costs[one.algorithm][kind]
            if found and found[-1].cost >= CLEARLY * cost:
                found.pop()
            found.append(Choice(one.algorithm, cost))
            best = one.rank
    return found


def advised(comparison: Comparison, kind: str) -> str:
    """Whom to take for which budget of one kind; empty if it is known of fewer than two."""
    known = sum(kind in held for held in comparison.costs.values())
    choices = front(comparison, kind)
    if known < 2:
        return ""
    if len(choices) == 1:
        return f"{choices[0].algorithm}: none that costs more ranks better."
    parts = [f"{choices[0].algorithm} below {priced(choices[1].cost, kind)}"]
    for place, one in enumerate(choices[1:], start=1):
        wins = _wins(comparison, one.algorithm, choices[place - 1].algorithm)
        parts.append(
            f"{one.algorithm} from there{wins}"
            if place == 1
            else f"{one.algorithm} from {priced(one.cost, kind)}{wins}"
        )
    return "; ".join(parts) + "."


def _wins(comparison: Comparison, one: str, other: str) -> str:
    """In how many measures the dearer one is significantly better."""
    both = [pair for pair in comparison.pairs if {pair.first, pair.second} == {one, other}]
    wins = sum(pair.better == one for pair in both)
    return f" (significantly better in {wins} of {len(both)} measures)"


def costs(comparison: Comparison) -> str:
    """The section: a table; whom to choose and a plot for each cost known of two or more."""
    if not comparison.costs:
        text = (
            "Nothing is known of time, memory or size: no record of a prediction says, and no "
            "folder holds a costs.json."
        )
        return section("Cost", text, "")
    measure = comparison.ranked[0]
    shown = [k for k in KINDS if any(k in held for held in comparison.costs.values())]
    head = ["Algorithm", *(KINDS[kind] for kind in shown), measured(comparison, measure)]
    rows = []
    for one in comparison.standings:
        held = comparison.costs.get(one.algorithm, {})
        cells = [priced(held[kind], kind) if kind in held else "not known" for kind in shown]
        mean = averaged(comparison.summary(one.algorithm, *measure), best=False)
        rows.append([named(comparison, one.algorithm), *cells, mean])
    text = (
        "As the records of the predictions say, or costs.json; times compare only if made on one "
        "machine. An operation is a multiplication or an addition."
    )
    told = {kind: advised(comparison, kind) for kind in shown}
    lines = [
        f"<li><b>{escape(KINDS[kind])}</b>: {escape(said)}</li>"
        for kind, said in told.items()
        if said
    ]
    listed = f'<ul class="notes">{"".join(lines)}</ul>'
    choice = f"<h3>Which one for which budget</h3>{listed}"
    drawn = [_plot(comparison, kind) for kind, said in told.items() if said]
    plotted = f'<div class="plots">{"".join(drawn)}</div>'
    return section(
        "Cost beside accuracy", text, tabled(head, rows) + (choice + plotted) * bool(lines)
    )


def _plot(comparison: Comparison, kind: str) -> str:
    names: Sequence[str] = [
        n for n in comparison.table.algorithms if kind in comparison.costs.get(n, {})
    ]
    measure = comparison.ranked[0]
    found = [comparison.summary(name, *measure) for name in names]
    drawn = plots.scatter(
        names,
        [comparison.costs[name][kind] for name in names],
        found,
        [plots.colour(comparison.table.algorithms.index(name)) for name in names],
        [names.index(one.algorithm) for one in front(comparison, kind)],
        f"{measure[1]} beside {KINDS[kind]}",
    )
    label = f"{measured(comparison, measure)} beside <small>{escape(KINDS[kind])}</small>"
    return f"<figure><figcaption>{label}</figcaption>{drawn}</figure>"
