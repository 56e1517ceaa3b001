"""A slice as pixels: what `slices` draws as SVG, for files that hold no vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from oncoseg.case import Array
from oncoseg.report.slices import EDGES, Frame, bar_length

FINE = 2  # times as many pixels are drawn, then made fewer: smooth lines
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def canvas(
    frame: Frame,
    grey: Array,
    box: tuple[float, float, float, float],
    outlines: Sequence[tuple[Array, str]],
    rulers: Sequence[Array],
    texts: tuple[str, str],
    pixels: int,
) -> Array:
    """Grey values that fill `box` -> (pixels, pixels, 3) uint8 of a square frame.

    All places are in mm: outlines (points (n, 2), colour), rulers (2, 2). `texts` stand above and
    below.
    """
    scale = FINE * pixels / frame.width
    corner = np.array([frame.x, frame.y])
    picture = Image.new("RGB", (FINE * pixels, FINE * pixels))
    left, top, right, bottom = (
        round((value - start) * scale)
        for value, start in zip(
            (box[0], box[1], box[0] + box[2], box[1] + box[3]), (*corner, *corner)
        )
    )
    shown = Image.fromarray(grey).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    picture.paste(shown.convert("RGB"), (left, top))
    pen = ImageDraw.Draw(picture)
    for points, colour in outlines:
        closed = np.vstack([points, points[:1]])
        pen.line(_placed((closed - corner) * scale), fill=colour, width=2 * FINE, joint="curve")
    for ends in rulers:
        pen.line(_placed((ends - corner) * scale), fill=BLACK, width=4 * FINE)
        pen.line(_placed((ends - corner) * scale), fill=WHITE, width=2 * FINE)
    _letters(pen, frame, texts, FINE * pixels, scale)
    return np.asarray(picture.resize((pixels, pixels), Image.Resampling.LANCZOS))


def _placed(points: Array) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _letters(
    pen: ImageDraw.ImageDraw, frame: Frame, texts: tuple[str, str], side: int, scale: float
) -> None:
    """Letters at the edges, the bar, and the texts at the upper and lower left."""
    gap, large, small = side * 0.02, side * 0.035, side * 0.028
    middle, far = side / 2, side - gap
    spots = ((gap, middle, "lm"), (far, middle, "rm"), (middle, gap, "ma"), (middle, far, "md"))
    told = [(x, y, how, letter, large) for letter, (x, y, how) in zip(EDGES[frame.plane], spots)]
    length = bar_length(frame)
    bar = [(far - length * scale, far), (far, far)]
    pen.line(bar, fill=BLACK, width=6 * FINE)
    pen.line(bar, fill=WHITE, width=3 * FINE)
    told.append((far, far - gap / 2, "rd", f"{length} mm", small))
    told.append((gap, gap, "la", texts[0], small))
    told.append((gap, far, "ld", texts[1], small))
    for x, y, how, text, size in told:
        font = ImageFont.load_default(size)
        pen.text((x, y), text, WHITE, font, anchor=how, stroke_width=2 * FINE, stroke_fill=BLACK)
