"""The report as one HTML page that needs nothing else: no script, no network, prints on A4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from oncoseg.report.records import DASH, Content, Plate, Region, Section

CSS = Path(__file__).with_name("page.css")
STAMP = "Research use only. Not a medical device."
WIDE = 8  # columns that fit on a sheet
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
# What stands in the JSON and in `oncoseg show`, and tells a reader of the page nothing.
TECHNICAL = {
    *("graph_differs", "oncoseg", "parameters", "flops", "segments", "steps", "minutes"),
    *("mirrored_axes", "went_back_at_steps"),
}


def page(content: Content) -> str:
    """The whole page."""
    body = [_header(content), _answer(content)]
    body += [_plate(plate, content.regions) for plate in content.plates]
    body += [_section(section, content.regions) for section in content.sections]
    body += [_inputs(content), _notes(content), _background(content)]
    title = f"{content.case} - tumour report"
    return _document(title, "\n".join(body), content.said.language)


def _document(title: str, body: str, language: str = "en") -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
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
        f'<header><div><p class="brand">{escape(content.case)}</p>'
        f'<p class="meta">{escape("  ·  ".join(["tumour report", *facts]))}</p></div>'
        f'<p class="stamp">{STAMP}</p></header>'
    )


def _answer(content: Content) -> str:
    """The answer, what adds to it, what warns, and what was not assessed."""
    said = content.said
    parts = [f'<h1 class="answer">{escape(said.answer)}</h1>']
    if said.sentences:
        parts.append(f'<p class="said">{escape(" ".join(said.sentences))}</p>')
    if content.notes:
        lines = "".join(f"<p>{escape(line)}</p>" for line in content.notes[:3])
        rest = len(content.notes) - 3
        more = f'<p><a href="#notes">{rest} more</a></p>' if rest > 0 else ""
        parts.append(f'<div class="alert">{lines}{more}</div>')
    if said.unassessed:
        text = escape(" ".join(said.unassessed))
        parts.append(f'<p class="unassessed"><b>Not assessed.</b> {text}</p>')
    parts.append(f'<div class="cards">{"".join(map(_card, content.regions))}</div>')
    return "".join(parts)


def _card(region: Region) -> str:
    members = f" <small>{escape(region.members)}</small>" if region.members else ""
    return (
        f'<div class="card" style="--colour:{region.colour}"><div class="name">'
        f'{escape(region.name)}{members}</div><div class="value">{escape(region.size)} '
        f"<small>{escape(region.unit)}</small></div>"
        f'<div class="more">{escape(region.across)}</div></div>'
    )


def _plate(plate: Plate, regions: Sequence[Region]) -> str:
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


def _legend(regions: Sequence[Region]) -> str:
    items = "".join(f"<li>{_swatch(one)}{escape(one.name)}</li>" for one in regions)
    return f'<ul class="legend">{items}</ul>'


def _swatch(region: Region) -> str:
    return f'<span class="swatch" style="--colour:{region.colour}"></span>'


def _section(section: Section, regions: Sequence[Region]) -> str:
    """Facts and tables, one of regions and one of lesions, and how it was measured."""
    known = {one.name: one for one in regions}
    facts = _facts(section.facts) if section.facts else ""
    groups = ([row for row in section.rows if (row[0] in known) is kind] for kind in (True, False))
    tables = "".join(_measured(section.columns, rows, known) for rows in groups if rows)
    methods = "".join(f"<li>{escape(line)}</li>" for line in section.methods)
    return (
        f"<section><h2>{escape(section.title)}</h2>{facts}{tables}"
        f'<ul class="methods">{methods}</ul></section>'
    )


def _measured(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[tuple[str, Sequence[str]]],
    known: Mapping[str, Region],
) -> str:
    """A line each region or lesion; where a sheet is too narrow for that, a column each."""
    whose = [_whose(name, known) for name, _ in rows]
    kept = [at for at in range(len(columns)) if any(cells[at] != DASH for _, cells in rows)]
    what = [f"{escape(columns[at][0])}<small>{escape(columns[at][1])}</small>" for at in kept]
    cells = [[escape(cells[at]) for at in kept] for _, cells in rows]
    if len(kept) <= WIDE:
        return _table(what, zip(whose, cells))
    return "".join(
        _table(
            whose[start : start + WIDE],
            zip(
                what, ([row[at] for row in cells[start : start + WIDE]] for at in range(len(kept)))
            ),
        )
        for start in range(0, len(whose), WIDE)
    )


def _whose(name: str, known: Mapping[str, Region]) -> str:
    """A region has its colour and what it is made of."""
    if name not in known:
        return escape(name)
    members = escape(known[name].members)
    return _swatch(known[name]) + escape(name) + (f"<small>{members}</small>" if members else "")


def _table(head: Iterable[str], lines: Iterable[tuple[str, Sequence[str]]]) -> str:
    top = "".join(f"<th>{text}</th>" for text in head)
    rows = "".join(
        f"<tr><td>{first}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for first, cells in lines
    )
    return f"<table><thead><tr><th></th>{top}</tr></thead><tbody>{rows}</tbody></table>"


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
        if key not in TECHNICAL and not key.startswith("intensities_")
    }
    card = _facts(model) if model else "<p>The record does not say which model this was.</p>"
    return (
        f'<section class="two"><div><h2>Model</h2>{card}</div><div><h2>Provenance</h2>'
        f"{_facts(content.provenance)}</div></section>{_footer()}"
    )


def _facts(facts: Mapping[str, str]) -> str:
    long = {name: ' class="mono"' for name, text in facts.items() if _digest(text)}
    items = "".join(
        f"<tr><th>{escape(name)}</th><td{long.get(name, '')}>{escape(text)}</td></tr>"
        for name, text in facts.items()
    )
    return f'<table class="facts">{items}</table>'


def _digest(text: str) -> bool:
    return len(text) >= 32 and set(text) <= set("0123456789abcdef")


def _footer() -> str:
    return (
        f"<footer>{STAMP} Not for diagnosis or treatment: contours and numbers come from a "
        "computer model and can be wrong; compare them with the images.</footer>"
    )
