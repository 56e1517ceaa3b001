"""Threads that all run before there is work for them.

One that starts when memory has just run out may die before it has said that it runs, and whoever
started it waits for it forever. So threads are started early, once, and then used again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

ROOM = 96 << 20  # addresses that a thread takes to start: its stack, and an arena of the allocator


def started(count: int) -> ThreadPoolExecutor:
    """So many threads, which run; `MemoryError` if there is no room for them."""
    np.empty(count * ROOM, np.uint8)  # let go at once, and never touched
    pool, go = ThreadPoolExecutor(count), Event()
    try:
        for _ in range(count):  # each finds the others busy, so another thread is started
            pool.submit(go.wait)
    except RuntimeError as error:
        raise MemoryError(str(error)) from error
    finally:
        go.set()
    return pool
