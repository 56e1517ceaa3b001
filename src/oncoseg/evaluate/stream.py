"""Many cases over few threads: in order, with a bar, never reading far ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from oncoseg.bar import bar

Item = TypeVar("Item")
Found = TypeVar("Found")
THREADS = 4
AHEAD = 2  # items begun or finished for each thread: what bounds the memory


def streamed(
    work: Callable[[Item], Found], items: Sequence[Item], *, title: str, unit: str = "case"
) -> Iterator[Found]:
    """What `work` gives for each item, in their order; the first error ends it.

    What was not begun by then is never begun, so an interrupt is obeyed after the cases at hand.
    """
    yield from bar(_ahead(work, items), title, unit=unit, total=len(items))


def _ahead(work: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
    threads = min(THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
