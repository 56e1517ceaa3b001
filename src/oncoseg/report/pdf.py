"""The page as a PDF on A4: case, notice and number on every sheet, contours as sharp as on screen.

WeasyPrint draws SVG without the page's styles and without strokes that keep their width, so both
are written into each picture first.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.errors import MissingExtra
from oncoseg.extras import require

CSS = Path(__file__).with_name("print.css")
SVG = "{http://www.w3.org/2000/svg}"
WIDE = 220.0  # pixels of style that a picture is wide; its strokes are in shares of it
UNDER = {"fill": "none", "stroke": "#000", "stroke-opacity": ".5", "stroke-linejoin": "round"}
# What document.css says of a class: its width in pixels, and what else.
LOOKS: dict[str, tuple[float, dict[str, str]]] = {
    "under": (0, UNDER),
    "line": (0, {"fill": "none", "stroke-linejoin": "round"}),
    "bar": (2.5, {"fill": "none", "stroke": "#fff"}),
    "under bar": (4.5, {**UNDER, "stroke-opacity": ".75"}),
    "rule": (1.6, {"fill": "none", "stroke": "#fff"}),
    "under ruler": (3.4, UNDER),
}
LETTERS = {
    "fill": "#fff",
    "font-weight": "600",
    "font-family": "Liberation Sans, Arial, sans-serif",
}
PANGO = (
    "PDF needs the library Pango, which was not found; install it (Debian and Ubuntu: apt install "
    "libpango-1.0-0 libpangoft2-1.0-0; macOS: brew install pango; Windows: see WeasyPrint's page), "
    "or print the HTML report from a browser"
)


def printer() -> Any:
    """WeasyPrint; raises `MissingExtra` that says what is missing and how to get it."""
    try:
        with redirect_stdout(StringIO()):  # where Pango is missing, it prints a banner
            return require("weasyprint", "report")
    except OSError as error:
        raise MissingExtra(PANGO) from error


def printed(page: str) -> bytes:
    """A page of `oncoseg.report.page` as the bytes of a PDF."""
    weasyprint = printer()
    # A style sheet given to WeasyPrint itself would yield to those of the page.
    styled = page.replace("</style>", f"{CSS.read_text(encoding='utf-8')}</style>", 1)
    document = weasyprint.HTML(string=styled)
    for picture in document.etree_element.iter(f"{SVG}svg"):
        _plain(picture)
    return bytes(document.write_pdf())


def _plain(picture: Any) -> None:
    """Give a picture the styles of its classes as attributes, widths in its own units."""
    pixel = float(picture.get("viewBox").split()[2]) / WIDE
    for path in picture.iter(f"{SVG}path"):
        if path.get("class") not in LOOKS:
            continue  # has looks of its own
        width, look = LOOKS[path.get("class")]
        width = width or float(path.get("stroke-width"))
        path.attrib.update(look, **{"stroke-width": f"{width * pixel:.4f}"})
        if path.get("class") == "rule":
            path.set("stroke-dasharray", f"{5 * pixel:.3f} {3 * pixel:.3f}")
        if path.get("transform"):
            path.set("d", _placed(path.get("d"), path.attrib.pop("transform")))
    for text in picture.findall(f"{SVG}text"):
        picture.insert(list(picture).index(text), _edge(text, pixel))
        text.attrib.update(LETTERS)


def _edge(text: Any, pixel: float) -> Any:
    """The dark edge of a text, which lies below it."""
    stroke = {"stroke": "#000", "stroke-opacity": ".75", "stroke-width": f"{2 * pixel:.3f}"}
    edge = text.makeelement(text.tag, {**text.attrib, **LETTERS, "fill": "#000", **stroke})
    edge.text = text.text
    return edge


def _placed(path: str, transform: str) -> str:
    """A path of `svg_path` after `translate(x y) scale(a b)` or `scale(a b)`."""
    numbers = [
        float(word)
        for word in transform.replace(")", " ").replace("(", " ").split()
        if not word.isalpha()
    ]
    scale, shift = np.array(numbers[-2:]), np.array([0.0, 0.0, *numbers][-4:-2])
    placed = []
    for part in path.split("M")[1:]:
        first, _, moves = part.removesuffix("z").partition("l")
        start = np.array(first.split(), dtype=float) * scale + shift
        steps = np.reshape(np.array(moves.split(), dtype=float), (-1, 2)) * scale
        told = " ".join(map("{:.2f}".format, steps.ravel().tolist()))
        placed.append(f"M{start[0]:.2f} {start[1]:.2f}l{told}z")
    return "".join(placed)
