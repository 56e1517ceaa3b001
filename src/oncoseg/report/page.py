"""The report as one HTML page that needs nothing else: no script, no network, prints on A4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from oncoseg.blocks.document import STAMP, alert, card, document, header, legend, swatch, table
from oncoseg.report.records import DASH, Content, Plate, Region, Section

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
    return document(f"{content.case} - tumour report", body, language=content.said.language)


def _header(content: Content) -> str:
    model = " ".join(content.model[key] for key in ("name", "version") if content.model.get(key))
    facts = [content.date, content.task, f"model {model}" if model else "model not named"]
    return header(content.case, ["tumour report", *facts])


def _answer(content: Content) -> str:
    """The answer, what adds to it, what warns, and what was not assessed."""
    said = content.said
    parts = [f'<h1 class="answer">{escape(said.answer)}</h1>']
    if said.sentences:
        parts.append(f'<p class="said">{escape(" ".join(said.sentences))}</p>')
    parts.append(alert(content.notes, 3))
    if said.unassessed:
        text = escape(" ".join(said.unassessed))
        parts.append(f'<p class="unassessed"><b>Not assessed.</b> {text}</p>')
    parts.append(f'<div class="cards">{"".join(map(_card, content.regions))}</div>')
    return "".join(parts)


def _card(region: Region) -> str:
    members = f" <small>{escape(region.members)}</small>" if region.members else ""
    size = f"{escape(region.size)} <small>{escape(region.unit)}</small>"
    return card(escape(region.name) + members, size, region.across, region.colour)


def _plate(plate: Plate, regions: Sequence[Region]) -> str:
    figures = "".join(
        f'<figure class="{figure.kind}">{figure.markup}<figcaption><b>{escape(figure.title)}</b> '
        f"{escape(figure.caption)}</figcaption></figure>"
        for figure in plate.figures
    )
    names = legend({one.name: one.colour for one in regions})
    return (
        f'<section><div class="head"><h2>{escape(plate.heading)}</h2>{names}</div>'
        f'<p class="sub">{escape(plate.text)}</p>'
        f'<div class="grid {plate.kind}" style="--columns:{plate.columns}">'
        f"{figures}</div></section>"
    )


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
    what = [tuple(map(escape, columns[at])) for at in kept]
    cells = [[escape(cells[at]) for at in kept] for _, cells in rows]
    if len(kept) <= WIDE:
        head = ["", *(f"{name}<small>{unit}</small>" for name, unit in what)]
        return table(head, ([one, *line] for one, line in zip(whose, cells)))
    lines = [[", ".join(filter(None, names)), *line] for names, line in zip(what, zip(*cells))]
    return "".join(
        table(["", *whose[at : at + WIDE]], ([one, *line[at : at + WIDE]] for one, *line in lines))
        for at in range(0, len(whose), WIDE)
    )


def _whose(name: str, known: Mapping[str, Region]) -> str:
    """A region has its colour and what it is made of."""
    if name not in known:
        return escape(name)
    one = known[name]
    members = f"<small>{escape(one.members)}</small>" if one.members else ""
    return swatch(one.colour) + escape(name) + members


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
    shown = _facts(model) if model else "<p>The record does not say which model this was.</p>"
    return (
        f'<section class="two"><div><h2>Model</h2>{shown}</div><div><h2>Provenance</h2>'
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
