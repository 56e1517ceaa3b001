"""What a page is made of: texts ready to be read, and pictures as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DASH = "-"  # a cell for which there is no row


@dataclass(frozen=True)
class Figure:
    """A picture (`<svg>` or `<img>` markup) with a title and a caption in plain text."""

    markup: str
    title: str
    caption: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Plate:
    """A section of pictures: its heading, what is to be known about it, and the figures."""

    heading: str
    text: str
    figures: Sequence[Figure]
    columns: int
    kind: str = ""


@dataclass(frozen=True)
class Region:
    """A region as its card shows it; texts are ready to be read."""

    name: str
    members: str
    colour: str
    size: str
    unit: str
    across: str


@dataclass(frozen=True)
class Section:
    """Measurements: facts of the case, then a table whose lines are regions or lesions.

    `methods` say how they were measured, `columns` are (name, unit), `rows` (region or lesion, its
    cells); plain text.
    """

    title: str
    methods: Sequence[str]
    facts: Mapping[str, str]
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Said:
    """`answer` is the first line; `sentences` add to it; `unassessed` is what nobody looked at."""

    answer: str
    sentences: tuple[str, ...] = ()
    unassessed: tuple[str, ...] = ()
    language: str = "en"


@dataclass(frozen=True)
class Content:
    """All that stands on the page, in plain text except for pictures."""

    case: str
    date: str
    task: str
    model: Mapping[str, str]
    said: Said
    regions: Sequence[Region]
    plates: Sequence[Plate]
    used: Mapping[str, str]
    missing: Sequence[str]
    notes: Sequence[str]
    provenance: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()
