"""What held-out cases can promise of a new one: the rule of split-conformal prediction.

Of n held-out scores and a new one, drawn in any order, the new one is at most the k-th smallest
with probability k / (n + 1) or more. That is so of the model that made them. What the models of a
cross-validation made promises less of a model of all cases: half the error is allowed then, since
the bound of CV+ is 1 - 2 a where that of one model is 1 - a (Barber 2021, arXiv 1905.02928). There
each case is bounded by the models themselves, so that this is our reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.case import Prediction


def bound(scores: Sequence[float], level: float) -> float | None:
    """What a new score is at most with probability `level`; None if they are too few to say."""
    place = math.ceil((len(scores) + 1) * level - 1e-9)
    return sorted(scores)[place - 1] if 0 < place <= len(scores) else None


def least(level: float) -> int:
    """The fewest cases with which there is a bound."""
    return math.ceil(level / (1 - level) - 1e-9)


def lesson(prediction: Prediction, scores: Mapping[str, Any]) -> dict[str, Any]:
    """What one held-out case teaches: its scores, and in what way it was predicted."""
    return {"missing": "+".join(prediction.missing), "scores": dict(scores)}


def gathered(lessons: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The scores of all cases under each name."""
    found: dict[str, list[Any]] = {}
    for one in lessons:
        for name, score in one["scores"].items():
            found.setdefault(name, []).append(score)
    return found


def made(lessons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many cases there were, of how many models, and in what ways predicted, for JSON."""
    return {
        "cases": len(lessons),
        "models": len({one.get("fold", 0) for one in lessons}),
        "missing": sorted({one["missing"] for one in lessons}),
    }


def strict(level: float, state: Mapping[str, Any]) -> float:
    """How sure a bound has to be by held-out cases for it to be as sure as `level` of new ones."""
    return (1 + level) / 2 if state.get("models", 1) > 1 else level


def refusal(
    state: Mapping[str, Any],
    prediction: Prediction,
    bounds: Mapping[str, Any],
    level: float,
    side: float,
    which: str = "",
) -> str:
    """Why held-out cases promise nothing of this one; else "".

    They were too few for `bounds` that each hold in a share `side`, all together in `level`, or
    were predicted in another way. `which` says which cases count.
    """
    if not bounds:
        cases = state.get("most", state["cases"])
        count = least(strict(side, state))
        return f"{level:.0%} takes {count} held-out cases{which}, not {cases}"
    if prediction.samples:
        return "held-out cases were predicted without samples"
    if "+".join(prediction.missing) not in state["missing"]:
        gone = f"without {', '.join(prediction.missing)}" if prediction.missing else "complete"
        return f"no held-out case was {gone}"
    return ""
