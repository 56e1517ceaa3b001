"""Which algorithm to choose, in one sentence that claims no more than the tests do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from oncoseg.compare.ranking import ALPHA, Pair
from oncoseg.compare.records import Standing
from oncoseg.compare.told import priced

CLEARLY = 0.9  # of a cost: what differs by less does not differ
LISTED = 5  # names in a list before the rest is counted
COUNTS = {
    "seconds": ("time", " a case"),
    "peak_mb": ("memory", ""),
    "flops": ("arithmetic", " operations a patch"),
    "parameters": ("size", " parameters"),
}


def advice(
    standings: Sequence[Standing],
    pairs: Sequence[Pair],
    costs: Mapping[str, Mapping[str, float]],
) -> str:
    """A sentence made from the ranks and Holm's p, with what must be known of them."""
    best, second = standings[0], standings[1]
    if best.rank == second.rank:
        equal = [one.algorithm for one in standings if one.rank == best.rank]
        return f"{_listed(equal)} share the first rank: {_apart(equal, pairs)}." + _few(pairs)
    known = math.isfinite(best.first)
    firmly = f", and is first in {best.first:.0%} of bootstrap samples" if known else ""
    shown = [_against(best.algorithm, one.algorithm, pairs) for one in standings[1:]]
    over = [text for text, wins, _ in shown if wins]
    against = [text for text, _, losses in shown if losses]
    told = [f"it is significantly better than {_listed(over)}"] if over else []
    worse = f", but significantly worse than {_listed(against)}" if against else ""
    equal = [one.algorithm for one, (_, wins, _) in zip(standings[1:], shown) if not wins]
    if equal:
        told.append(f"no measure shows it better than {_listed(equal)}")
    clear = over and not (equal or against)
    start = f"Choose {best.algorithm}: it" if clear else best.algorithm
    doubt = _cheaper(best.algorithm, equal, costs) if equal else ""
    return f"{start} ranks first{firmly}; {' and '.join(told)}{worse}.{doubt}{_few(pairs)}"


def _apart(equal: Sequence[str], pairs: Sequence[Pair]) -> str:
    """In what each of them is better than another, if in anything."""
    better: dict[str, dict[str, None]] = {name: {} for name in equal}
    for pair in pairs:
        if {pair.first, pair.second} <= set(equal) and pair.better:
            better[pair.better][f"{pair.metric.partition(':')[0]} of {pair.region}"] = None
    told = [f"{name} is better in {_listed(list(won))}" for name, won in better.items() if won]
    return f"{', '.join(told)}; choose by what counts" if told else "choose between them by cost"


def _cheaper(best: str, equal: Sequence[str], costs: Mapping[str, Mapping[str, float]]) -> str:
    """The cheapest of those that no measure shows to be worse, by the first cost that decides."""
    said = ""
    for kind, (counts, text) in COUNTS.items():
        known = {n: costs[n][kind] for n in (best, *equal) if kind in costs.get(n, {})}
        if len(known) < 2 or best not in known:
            continue
        least = min(known, key=lambda name: known[name])
        if known[least] < CLEARLY * known[best]:
            here, there = (priced(known[name], kind) for name in (least, best))
            return f" Where {counts} counts, {least} takes {here}{text}, not {there}."
        said = said or f" None of them takes clearly less {counts}."
    return said or " So cost may decide between them."


def _against(one: str, other: str, pairs: Sequence[Pair]) -> tuple[str, int, int]:
    """`b (3 of 4 measures)`, and in how many `one` is better and worse."""
    both = [pair for pair in pairs if {pair.first, pair.second} == {one, other}]
    wins = sum(pair.better == one for pair in both)
    losses = sum(pair.better == other for pair in both)
    return f"{other} ({wins or losses} of {len(both)} measures)", wins, losses


def _few(pairs: Sequence[Pair]) -> str:
    """Whether the data could have shown anything."""
    if any(pair.least < ALPHA for pair in pairs):
        return ""
    number = max(pair.patients for pair in pairs)
    return (
        f" With {number} patient{'s' if number != 1 else ''} no difference could be significant, "
        "however large: these tests say nothing."
    )


def _listed(names: Sequence[str]) -> str:
    if len(names) > LISTED + 2:
        return f"{', '.join(names[:LISTED])} and {len(names) - LISTED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
