"""Asked to end (SIGTERM), a command undoes what is half done, as it does on Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from oncoseg.cli.words import complain

TERMINATED = 143  # 128 and the number of the signal, as shells say it


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Leave the block as on Ctrl-C when SIGTERM comes, and exit with `TERMINATED`; once."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except Terminated:
        complain("stopped; what was finished is kept, run the same again for the rest")
        raise SystemExit(TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is undone now is not interrupted
    raise Terminated
