"""An HTML page that needs nothing else, no script and no network, and what stands on every page.

Texts are plain and are escaped here; what is said to be markup is not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from oncoseg import __version__

CSS = Path(__file__).with_name("document.css")
STAMP = "Research use only. Not a medical device."


def document(
    title: str, parts: Iterable[str], *styles: Path, language: str = "en", head: str = ""
) -> str:
    """The whole page of `parts`, which are markup, with CSS files after that of every page.

    `head` is markup too.
    """
    css = "".join(path.read_text(encoding="utf-8") for path in (CSS, *styles))
    body = "\n".join(filter(None, parts))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n{head}"
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def today() -> str:
    """The date of this machine."""
    return dt.datetime.now().astimezone().strftime("%Y-%m-%d")


def header(brand: str, facts: Sequence[str], heading: str = "", first: str = "") -> str:
    """What a page is of, and the notice; `first` is markup before the facts."""
    top = f"<h1>{escape(heading)}</h1>" if heading else ""
    return (
        f'<header><div><p class="brand">{escape(brand)}</p>{top}'
        f'<p class="meta">{first}{escape("  ·  ".join(facts))}</p></div>'
        f'<p class="stamp">{STAMP}</p></header>'
    )


def footer(text: str = "") -> str:
    """The notice again, and what made the page."""
    told = " ".join(filter(None, (STAMP, text, f"Made by oncoseg {__version__}.")))
    return f"<footer><p>{told}</p></footer>"


def alert(notes: Sequence[str], most: int | None = None) -> str:
    """What has to be known first; beyond `most` notes a link to the element `notes`."""
    told = "".join(f"<p>{escape(note)}</p>" for note in notes[:most])
    more = len(notes[most:]) if most else 0
    told += f'<p><a href="#notes">{more} more</a></p>' if more else ""
    return f'<div class="alert">{told}</div>' if told else ""


def section(heading: str, text: str, inside: str, kind: str = "long") -> str:
    """A part of the page, a long one of which may go on on the next sheet; `inside` is markup."""
    return (
        f'<section class="{kind}"><h2>{escape(heading)}</h2><p class="sub">{escape(text)}</p>'
        f"{inside}</section>"
    )


def card(name: str, value: str, more: str, colour: str) -> str:
    """A number at a glance; `name` and `value` are markup."""
    return (
        f'<div class="card" style="--colour:{colour}"><div class="name">{name}</div>'
        f'<div class="value">{value}</div><div class="more">{escape(more)}</div></div>'
    )


def swatch(colour: str) -> str:
    """A spot of a colour."""
    return f'<span class="swatch" style="--colour:{colour}"></span>'


def legend(colours: Mapping[str, str]) -> str:
    """Which name has which colour."""
    items = "".join(f"<li>{swatch(tint)}{escape(name)}</li>" for name, tint in colours.items())
    return f'<ul class="legend">{items}</ul>' if items else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are markup."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
