"""Progress on a terminal, where there is one, once it takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

from oncoseg.errors import printable

Item = TypeVar("Item")
USUAL: dict[str, Any] = {"miniters": 1, "disable": None, "delay": 2, "leave": False}


class Bar(tqdm):
    """Looks at the time by itself, without a thread of its own."""

    monitor_interval = 0


def bar(
    items: Iterable[Item], title: str, *, unit: str = "case", total: int | None = None
) -> Iterable[Item]:
    """The items, of which there are `total`, and how many of them have come."""
    return Bar(items, printable(title), total, unit=unit, **USUAL)


def percent(title: str, done: int, *, shown: bool = True) -> Bar:
    """A bar that is moved by hand, to 100."""
    options = {**USUAL, "disable": None if shown else True}
    return Bar(None, title, 100, unit="%", initial=done, **options)
