"""Axes of plots that are inline SVG: round numbers along them, and the picture's frame."""

from __future__ import annotations

import math
from html import escape


def ticks(low: float, high: float) -> list[float]:
    """Two to seven round numbers around a range."""
    span = high - low
    if span <= 1e-9 * abs(high):  # equal but for rounding
        span = abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(size * times for times in (1, 2, 5, 10) if span / (size * times) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Round numbers between two powers of ten, the fewer the further they are apart."""
    span = high - low
    steps = (1, 1.5, 2, 3, 4, 5, 7) if span < 0.8 else (1, 2, 5) if span <= 2 else (1,)
    powers = range(math.floor(low), math.floor(high) + 2)
    every = [step * 10.0**power for power in powers for step in steps]
    return [one for one in every if low - 1e-9 <= math.log10(one) <= high + 1e-9]


def framed(width: float, height: float, inside: str, title: str) -> str:
    """A plot of so many pixels at most; `title` is read to those who cannot see it."""
    return (
        f'<svg class="plot" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'style="max-width:min(100%, {width:.0f}px)" aria-label="{escape(title)}">{inside}</svg>'
    )
