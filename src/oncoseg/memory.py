"""The memory of this process and of the machine: what is held, what is left, sizes as words."""

from __future__ import annotations

import math
import mmap
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from oncoseg.errors import BadOption

if sys.platform != "win32":
    import resource

UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


def size(text: str) -> int:
    """`4GB`, `500 MB`, `1.5GiB` -> bytes; raises `BadOption`."""
    word = text.strip().upper().removesuffix("B")
    binary = word.endswith("I")
    word = word.removesuffix("I")
    unit = word[-1:] if word[-1:] in UNITS else ""
    factor = 1024 ** list(UNITS).index(unit) if binary else UNITS[unit]
    try:
        number = float(word.removesuffix(unit) if unit else word)
    except ValueError as error:
        raise BadOption(f"'{text}' is no size of memory; write 4GB or 500MB") from error
    if not 0 < number < math.inf:
        raise BadOption(f"'{text}' is no size of memory; write 4GB or 500MB")
    return int(number * factor)


def said(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def resident() -> int:
    """Bytes of memory that the process holds; its peak where a system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak()
    return pages * mmap.PAGESIZE


def peak() -> int:
    """The most memory that the process held so far, in bytes; 0 where a system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass  # another system; Linux would count the process that started this one as well
    if sys.platform == "win32":
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available() -> int:
    """Bytes that the process can still take, of the machine or its container; 0 if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail")]
        folder = Path("/sys/fs/cgroup")
        limit, used = (
            (folder / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current")
        )
        found.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # another system, or no limit
    return max(0, min(found, default=0))


@contextmanager
def measured(threads: Executor) -> Iterator[list[int]]:
    """What the process holds at most while the block runs, beyond what it held before.

    One of `threads` looks at it.
    """
    before, most, over = resident(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], resident() - before)

    watching = threads.submit(watch)
    try:
        yield most
    finally:
        most[0] = max(most[0], resident() - before)
        over.set()
        watching.result()
