"""What held-out cases can promise of a new one: the rule of split-conformal prediction.

Of n held-out scores and a new one, drawn in any order, the new one is at most the k-th smallest
with probability k / (n + 1) or more.
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


def made(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How many cases there were, and in what ways they were predicted, for JSON."""
    return {
        "cases": len(predictions),
        "missing": sorted({"+".join(one.missing) for one in predictions}),
    }


def unlike(state: Mapping[str, Any], prediction: Prediction) -> str:
    """Why held-out cases say nothing of this one, which was predicted in another way; else ""."""
    if prediction.samples:
        return "held-out cases were predicted without samples"
    if "+".join(prediction.missing) not in state["missing"]:
        gone = f"without {', '.join(prediction.missing)}" if prediction.missing else "complete"
        return f"no held-out case was {gone}"
    return ""
