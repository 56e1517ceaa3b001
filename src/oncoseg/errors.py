"""What went wrong, with which file, and what to do.

Every message is one sentence a person can act on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def printable(text: object) -> str:
    """Text that cannot steer a terminal: control and direction characters become escapes.

    Names of files and what stands in headers may hold anything.
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\N{NO-BREAK SPACE}"
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in str(text)
    )


class OncosegError(Exception):
    """The one family of errors that reach a user; the command line prints the message alone."""


class BadFile(OncosegError):
    """A file that cannot be trusted: names it, says what is wrong and what to do."""

    def __init__(self, path: str | Path, cause: str, remedy: str) -> None:
        super().__init__(f"{printable(path)}: {cause}; {remedy}")
        self.path, self.cause, self.remedy = Path(path), cause, remedy


class DiskFull(BadFile):
    """A file that no room is left for; its former content is as it was."""


class Stopped(OncosegError):
    """Work that was asked to end and is saved; it can be gone on with. `code` is the exit code."""

    def __init__(self, message: str, code: int = 130) -> None:
        super().__init__(message)
        self.code = code


class BadData(OncosegError):
    """A case, a data set or a pair of them that contradicts itself or the task."""


class BadOption(OncosegError):
    """An option that the named part does not have, or a value it cannot take."""


class BadRun(OncosegError):
    """A combination of choices that cannot work together, refused before any work."""


class Busy(BadRun):
    """Another process is at the same work: nothing is wrong, and it is to be waited for."""

    code = 75  # of a process that ends for it: EX_TEMPFAIL


class MissingExtra(OncosegError):
    """An optional package is needed; the message holds the pip line."""


class UnknownName(OncosegError):
    """No part of that name; the message offers the nearest one."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Build the error for a name that is not registered, with the nearest names that are."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return UnknownName(f"no {kind} '{name}'; did you mean {' or '.join(near)}?")
    return UnknownName(f"no {kind} '{name}'; there are {', '.join(known) or 'none'}")
