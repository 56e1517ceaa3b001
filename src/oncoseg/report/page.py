"""The report as one HTML page that needs nothing else: no script, no network, prints on A4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

CSS = Path(__file__).with_name("page.css")
STAMP = "Research use only. Not a medical device."
MODEL = {
    "name": "Model",
    "version": "Version",
    "sha256": "SHA-256",
    "hash": "Checksum",
    "training_data": "Training data",
    "data": "Training data",
    "licence": "Licence",
    "license": "Licence",
}


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
class Measured:
    """What the table and the summary say of one region; texts are ready to be read."""

    region: str
    members: str
    colour: str
    size: str
    unit: str
    across: str
    space: str
    pieces: str
    confidence: str
    empty: bool


@dataclass(frozen=True)
class Section:
    """A finding: facts of the case, then a table whose lines are regions or lesions; plain text.

    `columns` are (name, unit), `rows` (region or lesion, its cells).
    """

    title: str
    method: str
    facts: Mapping[str, str]
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Content:
    """All that stands on the page, in plain text except for pictures."""

    case: str
    date: str
    task: str
    model: Mapping[str, str]
    flat: bool
    regions: Sequence[Measured]
    plates: Sequence[Plate]
    headings: Mapping[str, str]
    methods: Sequence[str]
    used: Mapping[str, str]
    missing: Sequence[str]
    notes: Sequence[str]
    provenance: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def page(content: Content) -> str:
    """The whole page."""
    body = [_header(content), _summary(content)]
    body += [_plate(plate, content.regions) for plate in content.plates]
    body += [_table(content), *map(_section, content.sections)]
    body += [_inputs(content), _notes(content), _background(content)]
    return _document(f"{content.case} - tumour report", "\n".join(body))


def index(rows: Sequence[tuple[str, str, Content]], date: str) -> str:
    """The list of all cases: (file name, summary, content)."""
    lines = []
    for name, summary, content in rows:
        warned = f"{len(content.notes)}" if content.notes else "0"
        lines.append(
            f'<tr><td><a href="{escape(_link(name))}">{escape(content.case)}</a></td>'
            f"<td>{escape(summary)}</td><td>{escape(', '.join(content.missing) or 'none')}</td>"
            f"<td>{warned}</td></tr>"
        )
    body = (
        f'<header><div><p class="brand">oncoseg</p><h1>Tumour reports</h1><p class="meta">{date}, '
        f'{len(rows)} cases</p></div><p class="stamp">{STAMP}</p></header>'
        '<table class="list"><thead>'
        "<tr><th>Case</th><th>Result</th><th>Missing modalities</th><th>Notes</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>{_footer()}"
    )
    return _document("Tumour reports", body)


def summary(content: Content) -> str:
    """One line for the list of cases."""
    if all(region.empty for region in content.regions):
        return "No tumour found"
    return ", ".join(f"{one.region} {one.size} {one.unit}" for one in content.regions)


def _document(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{CSS.read_text(encoding='utf-8')}</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _header(content: Content) -> str:
    model = " ".join(content.model[key] for key in ("name", "version") if content.model.get(key))
    facts = [content.date, content.task, f"model {model}" if model else "model not named"]
    return (
        '<header><div><p class="brand">oncoseg tumour report</p>'
        f'<h1>{escape(content.case)}</h1><p class="meta">{escape("  ·  ".join(facts))}</p></div>'
        f'<p class="stamp">{STAMP}</p></header>'
    )


def _summary(content: Content) -> str:
    parts = []
    if all(region.empty for region in content.regions):
        looked = ", ".join(region.region for region in content.regions)
        parts.append(
            f'<div class="none"><b>No tumour was found.</b> The model marked no voxel as any of: '
            f"{escape(looked)}. This does not show that there is no tumour.</div>"
        )
    else:
        parts.append(f'<div class="cards">{"".join(map(_card, content.regions))}</div>')
    if content.notes or content.missing:
        told = [f"Missing: {', '.join(content.missing)}."] if content.missing else []
        told += list(content.notes)
        lines = "".join(f"<p>{escape(line)}</p>" for line in told[:3])
        more = f'<p><a href="#notes">{len(told) - 3} more</a></p>' if len(told) > 3 else ""
        parts.append(f'<div class="alert">{lines}{more}</div>')
    return "".join(parts)


def _card(region: Measured) -> str:
    more = "not found" if region.empty else region.across
    members = f" <small>{escape(region.members)}</small>" if region.members else ""
    return (
        f'<div class="card" style="--colour:{region.colour}"><div class="name">'
        f'{escape(region.region)}{members}</div><div class="value">{escape(region.size)} '
        f'<small>{escape(region.unit)}</small></div><div class="more">{escape(more)}</div></div>'
    )


def _plate(plate: Plate, regions: Sequence[Measured]) -> str:
    figures = "".join(
        f'<figure class="{figure.kind}">{figure.markup}<figcaption><b>{escape(figure.title)}</b> '
        f"{escape(figure.caption)}</figcaption></figure>"
        for figure in plate.figures
    )
    return (
        f'<section><div class="head"><h2>{escape(plate.heading)}</h2>{_legend(regions)}</div>'
        f'<p class="sub">{escape(plate.text)}</p>'
        f'<div class="grid {plate.kind}" style="--columns:{plate.columns}">'
        f"{figures}</div></section>"
    )


def _legend(regions: Sequence[Measured]) -> str:
    items = "".join(
        f'<li><span class="swatch" style="--colour:{one.colour}"></span>{escape(one.region)}</li>'
        for one in regions
    )
    return f'<ul class="legend">{items}</ul>'


def _table(content: Content) -> str:
    keys = ("size", "across", "space", "pieces", "confidence")
    kept = [key for key in keys if not (content.flat and key == "space")]
    head = "".join(f"<th>{content.headings[key]}</th>" for key in kept)
    rows = []
    for one in content.regions:
        members = f"<small>{escape(one.members)}</small>" if one.members else ""
        values = {**one.__dict__, "size": f"{one.size} {one.unit}"}
        cells = "".join(f"<td>{escape(values[key])}</td>" for key in kept)
        rows.append(
            f'<tr><td><span class="swatch" style="--colour:{one.colour}"></span>'
            f"{escape(one.region)}{members}</td>{cells}</tr>"
        )
    methods = "".join(f"<li>{escape(line)}</li>" for line in content.methods)
    return (
        f"<section><h2>Measurements</h2><table><thead><tr><th>Region</th>{head}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table><ul class="methods">{methods}</ul></section>'
    )


def _section(section: Section) -> str:
    facts = _facts(section.facts) if section.facts else ""
    head = "".join(
        f"<th>{escape(name)}<small>{escape(unit)}</small></th>" for name, unit in section.columns
    )
    lines = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in section.rows
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return (
        f"<section><h2>{escape(section.title)}</h2>{facts}{table if lines else ''}"
        f'<ul class="methods"><li>{escape(section.method)}</li></ul></section>'
    )


def _inputs(content: Content) -> str:
    rows = [(name, f"used, {where}" if where else "used") for name, where in content.used.items()]
    rows += [(name, "missing") for name in content.missing]
    meaning = "Everything the model was trained on was there."
    if content.missing:
        names = " and ".join(content.missing)
        meaning = (
            f"The model was trained with {names} and had to do without. What shows best in {names} "
            "may be drawn too small, too large or not at all: compare with the images, and do not "
            "compare volumes with those of a scan that had everything."
        )
    return f"<section><h2>Modalities</h2><p>{escape(meaning)}</p>{_facts(dict(rows))}</section>"


def _notes(content: Content) -> str:
    lines = [f"<li>{escape(note)}</li>" for note in content.notes]
    told = f'<ul class="notes">{"".join(lines)}</ul>' if lines else "<p>None.</p>"
    return f'<section id="notes"><h2>Notes and warnings</h2>{told}</section>'


def _background(content: Content) -> str:
    model = {
        MODEL.get(key, key.replace("_", " ").capitalize()): value
        for key, value in content.model.items()
    }
    card = _facts(model) if model else "<p>The record does not say which model this was.</p>"
    return (
        f'<section class="two"><div><h2>Model</h2>{card}</div><div><h2>Provenance</h2>'
        f"{_facts(content.provenance)}</div></section>{_footer()}"
    )


def _facts(facts: Mapping[str, str]) -> str:
    long = {name: ' class="mono"' for name, text in facts.items() if _digest(text)}
    items = "".join(
        f"<dt>{escape(name)}</dt><dd{long.get(name, '')}>{escape(text)}</dd>"
        for name, text in facts.items()
    )
    return f"<dl>{items}</dl>"


def _digest(text: str) -> bool:
    return len(text) >= 32 and set(text) <= set("0123456789abcdef")


def _footer() -> str:
    return (
        f"<footer>{STAMP} Not for diagnosis or treatment: contours and numbers come from a "
        "computer model and can be wrong; compare them with the images.</footer>"
    )


def _link(name: str) -> str:
    """A file name as a relative link."""
    return "./" + "".join(f"%{ord(letter):02X}" if letter in "%#?" else letter for letter in name)
