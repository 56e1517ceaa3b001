"""Linear multistep methods of Adams: the next state from slopes that are known already."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

# Weights of the slopes, the newest first (Hairer, Norsett and Wanner 1993, III.1).
BASHFORTH: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
MOULTON = ((1 / 2, 1 / 2), (5 / 12, 8 / 12, -1 / 12), (9 / 24, 19 / 24, -5 / 24, 1 / 24))


def explicit(state: Tensor, slopes: Sequence[Tensor], step: float) -> Tensor:
    """Adams-Bashforth of order 1 to 4, as many as there are slopes; the newest slope is last."""
    return _moved(state, slopes, step, BASHFORTH[min(len(slopes), len(BASHFORTH)) - 1])


def implicit(state: Tensor, slopes: Sequence[Tensor], step: float) -> Tensor:
    """Adams-Moulton of order 2 to 4; the last slope is that of the state that is looked for."""
    return _moved(state, slopes, step, MOULTON[min(len(slopes) - 2, len(MOULTON) - 1)])


def _moved(
    state: Tensor, slopes: Sequence[Tensor], step: float, weights: Sequence[float]
) -> Tensor:
    for weight, slope in zip(weights, reversed(slopes)):
        state = state + step * weight * slope
    return state
