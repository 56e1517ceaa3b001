"""Progress on a terminal, where there is one, once it takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

from oncoseg.errors import printable

Item = TypeVar("Item")


class Bar(tqdm):
    """Looks at the time by itself, without a thread of its own."""

    monitor_interval = 0


def bar(
    items: Iterable[Item], title: str, *, unit: str = "case", total: int | None = None
) -> Iterable[Item]:
    """The items, of which there are `total`, and how many of them have come."""
    options = {"unit": unit, "miniters": 1, "disable": None, "delay": 2, "leave": False}
    return Bar(items, printable(title), total, **options)
