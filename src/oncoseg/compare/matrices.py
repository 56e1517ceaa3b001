"""Who differs from whom: every algorithm's row against every other's column."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from oncoseg.blocks.document import section
from oncoseg.compare.markup import measured, named, number
from oncoseg.compare.plots import MANY
from oncoseg.compare.ranking import ALPHA, Pair
from oncoseg.compare.records import Comparison

TESTS = {
    "wilcoxon": "Wilcoxon's signed-rank test",
    "permutation": "Permutation test of the mean (random signs)",
}


def matrices(comparison: Comparison) -> str:
    """The section: a matrix a ranked measure; of many algorithms its cells are colours alone."""
    order = [one.algorithm for one in comparison.standings]
    many = len(order) > MANY
    shown = (
        "Row against column, best first. Numbers are in pairs.csv, and a cell says its own if "
        "pointed at"
        if many
        else "Mean difference of the row's algorithm to the column's, p and effect r"
    )
    effect = (
        ""
        if many
        else "r is the matched-pairs rank-biserial correlation, above 0 where the row is better, 1 "
        "where it always is. "
    )
    text = (
        f"{shown}. {TESTS[comparison.protocol.test]}, paired by patient, two-sided; p is Holm's, "
        f"over all {len(comparison.pairs)} tests on this page. {effect}"
        "Blue: the row is significantly better (p < 0.05); orange: worse."
    )
    figures = [_matrix(comparison, measure, order) for measure in comparison.ranked]
    kind = " single" if len(order) > 4 else ""
    return section(
        "Who differs from whom", text, f'<div class="matrices{kind}">{"".join(figures)}</div>'
    )


def _matrix(comparison: Comparison, measure: tuple[str, str], order: Sequence[str]) -> str:
    many = len(order) > MANY
    cell = _dense if many else _cell
    there = [one for one in comparison.pairs if (one.region, one.metric) == measure]
    found = {(one.first, one.second): one for one in there}
    rows = []
    for row in order:
        cells = []
        for column in order:
            if row == column:
                cells.append('<td class="self"></td>')
            elif (row, column) in found:
                cells.append(cell(found[row, column], row, 1))
            else:
                cells.append(cell(found[column, row], row, -1))
        rows.append(f"<tr><td>{named(comparison, row)}</td>{''.join(cells)}</tr>")
    heads = [str(place) for place in range(1, len(order) + 1)] if many else map(escape, order)
    top = "".join(f"<th>{head}</th>" for head in heads)
    kind = ' class="dense"' if many else ""
    return (
        f"<figure style='margin:0'><figcaption>{measured(comparison, measure)}</figcaption>"
        f"<table{kind}><thead><tr><th></th>{top}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{_too_few(there)}</figure>"
    )


def _way(pair: Pair, row: str) -> str:
    return "" if not pair.better else ' class="up"' if pair.better == row else ' class="down"'


def _dense(pair: Pair, row: str, sign: int) -> str:
    """A colour, and what it stands for."""
    other = pair.second if sign > 0 else pair.first
    title = f"{row} - {other}: {number(sign * pair.difference)}, {_p(pair.holm)}"
    return f'<td{_way(pair, row)} title="{escape(title)}"></td>'


def _cell(pair: Pair, row: str, sign: int) -> str:
    title = (
        f"{pair.patients} patients, {pair.cases} cases; difference "
        f"{number(sign * pair.difference)} (95 % {_ends(pair.low, pair.high, sign)}); "
        f"Hodges-Lehmann shift {number(sign * pair.shift)} "
        f"({_ends(pair.shift_low, pair.shift_high, sign)}); Cohen's d {number(sign * pair.d)}; "
        f"before correction {_p(pair.p)}"
    )
    plus = "+" if sign * pair.difference > 0 else ""
    told = f"<b>{plus}{number(sign * pair.difference)}</b>"
    return (
        f'<td{_way(pair, row)} title="{escape(title)}">{told}'
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
