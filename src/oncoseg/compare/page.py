"""The comparison as one HTML page that needs nothing else: no script, no network, prints on A4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from oncoseg.blocks.document import alert, document, footer, header, section, today
from oncoseg.compare import plots
from oncoseg.compare.budget import costs
from oncoseg.compare.markup import averaged, measured, named, number, tabled
from oncoseg.compare.method import method
from oncoseg.compare.pictures import Panel, panels, worst
from oncoseg.compare.ranking import ALPHA, Pair
from oncoseg.compare.records import Comparison, Standing
from oncoseg.evaluate.table import Summary

CSS = Path(__file__).with_name("page.css")
SHOWN, LISTED = 3, 8  # worst cases as pictures, and in the table
DRAWN = 12  # measures up to which all are drawn, beyond it those that count
SCHEMES = {
    "rank-then-aggregate": "Mean rank over cases",
    "aggregate-then-rank": "Mean rank of means",
    "significance": "Mean rank by tests won",
}


def page(comparison: Comparison) -> str:
    """The whole page."""
    body = [
        _header(comparison),
        f'<div class="choice">{escape(comparison.advice())}</div>',
        alert(comparison.notes, 4),
        _leaderboard(comparison),
        *_extras(comparison),
        _means(comparison),
        _cases(comparison),
        _matrices(comparison),
        _stability(comparison),
        _groups(comparison),
        costs(comparison),
        _worst(comparison),
        method(comparison),
        footer(),
    ]
    return document(f"{_title(comparison)} - comparison", body, CSS)


def _title(comparison: Comparison) -> str:
    names = comparison.table.algorithms
    if len(names) > 4:
        return f"{len(names)} algorithms"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _header(comparison: Comparison) -> str:
    facts = [
        today(),
        f"{len(comparison.table.cases)} cases, {comparison.patients} patients",
        f"truth {Path(comparison.reference).name}",
        f"protocol {comparison.protocol.name}",
    ]
    return header("oncoseg comparison", facts, _title(comparison))


def _leaderboard(comparison: Comparison) -> str:
    def row(one: Standing) -> list[str]:
        ranks = "-" if math.isnan(one.low) else f"{one.low:g} to {one.high:g}"
        first = "-" if math.isnan(one.first) else f"{one.first:.0%}"
        lost = f"{one.missing} / {one.failed}"
        name = named(comparison, one.algorithm)
        return [name, f"<b>{one.rank:g}</b>", f"{one.score:.2f}", ranks, first, lost]

    head = [
        "Algorithm",
        "Rank",
        f"Score<small>{SCHEMES[comparison.protocol.scheme].lower()}</small>",
        "95 % of ranks<small>patients drawn anew</small>",
        "First in<small>of samples</small>",
        "Cases missing / failed<small>counted as worst</small>",
    ]
    text = (
        f"By the protocol {comparison.protocol.name}: {comparison.protocol.summary}. "
        "A lower score is better."
    )
    return section("Leaderboard", text, tabled(head, [row(one) for one in comparison.standings]))


def _means(comparison: Comparison) -> str:
    order = [one.algorithm for one in comparison.standings]
    rows = []
    for measure in comparison.table.measures:
        found = [comparison.summary(name, *measure) for name in order]
        best = _best(found)
        cells = [averaged(one, best=one.mean == best) for one in found]
        mark = "" if measure in comparison.ranked else "<small>not ranked</small>"
        rows.append([measured(comparison, measure) + mark, *cells])
    text = (
        "Means over cases with 95 % intervals (patients drawn with all their cases), and n, the "
        "values averaged; undefined values are counted beside them and not averaged. The best mean "
        "is bold: that alone shows no difference."
    )
    head = ["Measure", *(named(comparison, name) for name in order)]
    return section("Means", text, tabled(head, rows))


def _best(found: Sequence[Summary]) -> float:
    means = [one.mean for one in found if math.isfinite(one.mean)]
    if not means:
        return float("nan")
    return max(means) if found[0].higher else min(means)


def _cases(comparison: Comparison) -> str:
    table = comparison.table
    figures = []
    drawn_of = table.measures if len(table.measures) <= DRAWN else comparison.ranked
    for measure in drawn_of:
        place = table.measures.index(measure)
        found = [comparison.summary(name, *measure) for name in table.algorithms]
        title = f"{measure[1]} of {measure[0]} in every case"
        drawn = plots.strips(table.algorithms, table.values[:, place], found, title)
        label = measured(comparison, measure)
        figures.append(f"<figure><figcaption>{label}</figcaption>{drawn}</figure>")
    count = len(table.cases)
    part = f" {plots.MOST} of {count} cases are drawn, evenly." if count > plots.MOST else ""
    text = (
        "A dot is a case, grey lines join the same case. Left of the dots quartiles and median, "
        f"right of them the mean with its interval. A triangle counts cases beyond the axis.{part}"
    )
    count = len(table.algorithms)
    single = " single" if count > 4 else " narrow" if count < 4 else ""
    return section("Every case", text, f'<div class="plots{single}">{"".join(figures)}</div>')


def _matrices(comparison: Comparison) -> str:
    order = [one.algorithm for one in comparison.standings]
    tests = len(comparison.pairs)
    test = {
        "wilcoxon": "Wilcoxon's signed-rank test",
        "permutation": "Permutation test of the mean (random signs)",
    }[comparison.protocol.test]
    text = (
        f"Mean difference of the row's algorithm to the column's, p and effect r. {test}, paired "
        f"by patient, two-sided; p is Holm's, over all {tests} tests on this page. r is the "
        "matched-pairs rank-biserial correlation, above 0 where the row is better, 1 where it "
        "always is. Blue: the row is significantly better (p < 0.05); orange: worse."
    )
    figures = [_matrix(comparison, measure, order) for measure in comparison.ranked]
    single = ' style="grid-template-columns:1fr"' if len(order) > 4 else ""
    return section(
        "Who differs from whom", text, f'<div class="matrices"{single}>{"".join(figures)}</div>'
    )


def _matrix(comparison: Comparison, measure: tuple[str, str], order: Sequence[str]) -> str:
    there = [one for one in comparison.pairs if (one.region, one.metric) == measure]
    found = {(one.first, one.second): one for one in there}
    rows = []
    for row in order:
        cells = []
        for column in order:
            if row == column:
                cells.append('<td class="self"></td>')
            elif (row, column) in found:
                cells.append(_cell(found[row, column], row, 1))
            else:
                cells.append(_cell(found[column, row], row, -1))
        rows.append(f"<tr><td>{named(comparison, row)}</td>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in order)
    return (
        f"<figure style='margin:0'><figcaption>{measured(comparison, measure)}</figcaption>"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{_too_few(there)}</figure>"
    )


def _cell(pair: Pair, row: str, sign: int) -> str:
    kind = "" if not pair.better else ' class="up"' if pair.better == row else ' class="down"'
    title = (
        f"{pair.patients} patients, {pair.cases} cases; difference "
        f"{number(sign * pair.difference)} (95 % {_ends(pair.low, pair.high, sign)}); "
        f"Hodges-Lehmann shift {number(sign * pair.shift)} "
        f"({_ends(pair.shift_low, pair.shift_high, sign)}); Cohen's d {number(sign * pair.d)}; "
        f"before correction {_p(pair.p)}"
    )
    plus = "+" if sign * pair.difference > 0 else ""
    return (
        f'<td{kind} title="{escape(title)}"><b>{plus}{number(sign * pair.difference)}</b>'
        f"<small>{_p(pair.holm)}</small><small>r {number(sign * pair.effect)}</small></td>"
    )


def _ends(low: float, high: float, sign: int) -> str:
    first, last = (low, high) if sign > 0 else (-high, -low)
    return f"{number(first)} to {number(last)}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def _too_few(pairs: Sequence[Pair]) -> str:
    """Whether p could be small at all."""
    least = min(one.least for one in pairs)
    if least < ALPHA:
        return ""
    patients = max(one.patients for one in pairs)
    return (
        f'<p class="small">{patients} patients are too few: the smallest p that could come out is '
        f"{least:.2f}, so that no difference can be significant.</p>"
    )


def _stability(comparison: Comparison) -> str:
    order = comparison.standings
    places = {name: place for place, name in enumerate(comparison.table.algorithms)}
    tau, low = comparison.tau
    if not math.isfinite(tau):
        return ""
    drawn = plots.stability(
        [one.algorithm for one in order],
        [one.shares for one in order],
        np.array([one.rank for one in order]),
        [plots.colour(places[one.algorithm]) for one in order],
    )
    text = (
        f"Ranks in {comparison.samples} bootstrap samples of patients: the larger a disc, the more "
        f"often; a cross is the rank itself. Kendall's tau between the ranking and those drawn is "
        f"{number(tau)} on average, and at least {number(low)} in 95 % of them (1: the same order)."
    )
    return section("How firmly the ranking stands", text, drawn)


def _groups(comparison: Comparison) -> str:
    parts = []
    order = [one.algorithm for one in comparison.standings]
    for column in dict.fromkeys(one.column for one in comparison.groups):
        for measure in comparison.ranked:
            cells = {
                (one.group, one.algorithm): one
                for one in comparison.groups
                if (one.column, one.region, one.metric) == (column, *measure)
            }
            groups = list(dict.fromkeys(group for group, _ in cells))
            rows = [
                [
                    escape(group or "not given"),
                    *(
                        f"{number(one.mean)}<small>{number(one.low)} to {number(one.high)}</small>"
                        f"<small>n {one.n}"
                        + (f", {one.undefined} undefined" * (one.undefined > 0))
                        + "</small>"
                        for one in (cells[group, name] for name in order)
                    ),
                ]
                for group in groups
            ]
            head = [escape(column), *(named(comparison, name) for name in order)]
            parts.append(f"<h3>{measured(comparison, measure)}</h3>{tabled(head, rows)}")
    text = (
        "Means with 95 % intervals over patients within each group; few patients, wide intervals."
    )
    return section("By group", text, "".join(parts)) if parts else ""


def _extras(comparison: Comparison) -> list[str]:
    """The tables that belong to this protocol."""
    known = set(comparison.table.algorithms)

    def cell(text: str) -> str:
        return named(comparison, text) if text in known else escape(text)

    return [
        section(
            one.heading,
            one.text,
            tabled(list(map(cell, one.head)), [list(map(cell, row)) for row in one.rows]),
        )
        for one in comparison.extras
    ]


def _worst(comparison: Comparison) -> str:
    cases = worst(comparison, LISTED)
    table, measure = comparison.table, comparison.ranked[0]
    place = table.measures.index(measure)
    rows = []
    for case in cases:
        at = table.cases.index(case)
        cells = [
            _value(float(table.values[one, place, at]), comparison.statuses[name].get(case, ""))
            for one, name in enumerate(table.algorithms)
        ]
        rows.append([escape(case), *cells])
    head = [f"Case<small>{measured(comparison, measure)}</small>"]
    head += [named(comparison, name) for name in table.algorithms]
    drawn = [
        f"<h3>{escape(case)} <small class='meta'>{escape(caption)}</small></h3>"
        f'<div class="panels" style="--columns:{min(5, max(3, len(table.algorithms)))}">'
        f"{''.join(_panel(comparison, one, case) for one in found)}</div>"
        for case, (found, caption) in panels(comparison, cases[:SHOWN]).items()
    ]
    text = (
        "Where the algorithms together have the worst places. Below, the slice in which outlines "
        f"and {'raters' if len(comparison.truths) > 1 else 'truth'} (white) differ most"
        + (f", {comparison.caption}." if comparison.caption else ".")
    )
    return section("Worst cases", text, tabled(head, rows) + "".join(drawn))


def _value(value: float, status: str) -> str:
    told = "" if status == "ok" else f"<small>{escape(status.partition(':')[0])}</small>"
    return (number(value) if math.isfinite(value) else "undefined") + told


def _panel(comparison: Comparison, one: Panel, case: str) -> str:
    table, measure = comparison.table, comparison.ranked[0]
    place = table.algorithms.index(one.algorithm)
    value = float(table.values[place, table.measures.index(measure), table.cases.index(case)])
    inside = one.markup or f'<div class="none">{escape(one.cause)}</div>'
    metric = measure[1].partition(":")[0]
    return (
        f"<figure>{inside}<figcaption>{named(comparison, one.algorithm)} "
        f"<small>{escape(metric)} {number(value)}</small></figcaption></figure>"
    )
