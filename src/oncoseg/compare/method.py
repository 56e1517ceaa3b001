"""What a comparison's page says of how it was made."""

from __future__ import annotations

from html import escape

from oncoseg.compare.records import Comparison

HOW = {
    "rank-then-aggregate": "Algorithms are ranked in each case and measure, equals share a mean "
    "rank, an undefined value is last where others are defined; the ranks are averaged over "
    "measures and cases.",
    "aggregate-then-rank": "Values are averaged over cases, algorithms ranked by these means in "
    "each measure, and the ranks averaged over measures.",
    "significance": "In each measure algorithms are ranked by how many others they beat in a "
    "one-sided Wilcoxon signed-rank test at 0.05, not corrected; the ranks are averaged. In "
    "bootstrap samples the test is by the normal distribution.",
}
FIRST = {
    "cases": "",
    "groups": " Groups of the first column have the same weight, whatever their size.",
    "regions": " Each metric is averaged over its regions first.",
}

LOST = (
    "A case without a prediction, or with one that cannot be compared, counts as the worst value "
    "of each metric: no mean improves by losing it."
)
DRAWN = ", drawing patients with all their cases"


def method(comparison: Comparison) -> str:
    """The protocol, its source and every rule that was used, as a section; then all notes."""
    rules = comparison.protocol
    card = rules.card
    where = f"arXiv {card.arxiv}" if card.arxiv else card.doi or card.url
    lines = [
        f"Protocol {rules.name}, after: {card.title} ({card.year}, {where}). {card.reading}",
        HOW[rules.scheme] + FIRST[rules.aggregation],
        LOST,
        (
            f"Intervals: 95 % percentiles of {comparison.samples} bootstrap means{DRAWN}"
            f" (seed {comparison.seed}); tests take the mean difference of each patient."
        ),
        *(f"{name}: {said['empty']}." for name, said in comparison.described.items()),
    ]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    noted = f'<h2 id="notes">Notes</h2><ul class="notes">{notes}</ul>' if notes else ""
    return (
        f'<section class="long"><h2>How it was done</h2><ul class="notes">{items}</ul>{noted}'
        "</section>"
    )
