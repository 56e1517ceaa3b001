"""What check keeps: problems, and of each case no more than what others are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oncoseg.case import Array
from oncoseg.errors import BadFile, OncosegError

MENTIONED = 6


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: how badly, in which case and file, why, and what to do."""

    severity: str
    kind: str
    case: str
    path: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class Image:
    """What is kept of an image after it was read; `range` is its lowest and highest value."""

    name: str
    path: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    range: tuple[float, float]
    bright: float
    digest: str


@dataclass(frozen=True)
class Seen:
    """What is kept of a case; `values` counts the voxels of each label, `volumes` has its mm³.

    Where several maps of a case have a label, that is its largest volume.
    """

    case: str
    patient: str
    site: str
    images: tuple[Image, ...]
    values: Mapping[int, int]
    problems: tuple[Problem, ...]
    volumes: Mapping[int, float] = field(default_factory=dict)


def failed(error: OncosegError, kind: str, case: str = "") -> Problem:
    """An error that a reader raised, as a problem."""
    if isinstance(error, BadFile):
        return Problem("error", kind, case, str(error.path), error.cause, error.remedy)
    cause, _, remedy = str(error).partition("; ")
    place, _, rest = cause.partition(": ")
    path, cause = (place, rest) if rest and Path(place).name != place else ("", cause)
    return Problem("error", kind, case, path, cause, remedy or "correct it")


def base(path: str) -> str:
    """The name of a file without its folder."""
    return Path(path).name


def few(names: Sequence[str]) -> str:
    """The first of many names, and how many there are."""
    some = list(dict.fromkeys(name for name in names if name))
    more = f", ... ({len(some)})" if len(some) > MENTIONED else ""
    return ", ".join(some[:MENTIONED]) + more


def numbers(values: Array) -> str:
    """`0.5 x 0.5 x 3`."""
    return " x ".join(f"{value:.4g}" for value in values)
