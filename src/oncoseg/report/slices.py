"""One slice as a picture: grey values, outlines, letters at the edges and a bar true to scale."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image
from scipy import ndimage

from oncoseg.blocks.modalities import COLOURS
from oncoseg.blocks.planes import PLANES, upright
from oncoseg.case import Array, Grid, Volume

EDGES = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}  # left, right, top, bottom
ACROSS = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # axes of columns and of rows
LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SOFT_TISSUE_HU = (-160.0, 240.0)


@dataclass(frozen=True)
class Frame:
    """What part of a slice is shown: a rectangle in mm from the picture's upper left corner."""

    plane: str
    index: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Shown:
    """An image to be looked at: upright, with a window of grey that `window` describes.

    `array` (*S), or (*S, 3) of the colours of a picture.
    """

    array: Array
    grid: Grid
    low: float
    high: float
    window: str
    edge: float
    inverted: bool = False

    def greys(self, values: Array) -> Array:
        """Intensities -> values of a picture, uint8; black where there is no image (NaN)."""
        level = np.clip((values - self.low) / max(self.high - self.low, 1e-9), 0, 1)
        level = 1 - level if self.inverted else level
        return np.nan_to_num(level * 255, nan=0.0).round().astype(np.uint8)


def all_shown(images: Mapping[str, Volume]) -> dict[str, Shown]:
    """Each image by its name; red, green and blue of a 2-D picture are one, `colours`."""
    parts = [images[name] for name in COLOURS if name in images]
    whole = len(parts) == len(COLOURS) and all(
        one.grid.dims == 2 and one.grid.same_as(parts[0].grid) for one in parts
    )
    if not whole:
        return {name: shown(name, volume) for name, volume in images.items()}
    array = np.stack([one.array for one in parts], axis=-1)
    high = 255.0 if array.dtype == np.uint8 else max(float(array.max()), 1e-9)
    rest = {name: shown(name, one) for name, one in images.items() if name not in COLOURS}
    return {"colours": Shown(array, parts[0].grid, 0.0, high, "", 0.0), **rest}


def shown(modality: str, volume: Volume) -> Shown:
    """Choose a window by the modality's name and values: CT and PET have units of their own.

    `edge` is the intensity taken for the outline of the body.
    """
    array, grid = upright(volume.array, volume.grid)
    few = array[tuple(slice(None, None, max(1, size // 96)) for size in array.shape)]
    few = few[np.isfinite(few)].astype(np.float64)
    words = set(re.split(r"[^a-z]+", modality.lower()))
    if words & {"ct", "cbct"} and few.min(initial=0) < -200:
        low, high = SOFT_TISSUE_HU
        return Shown(array, grid, low, high, f"{low:g} to {high:g} HU", -300.0)
    filled = few[few != few.min(initial=0)] if few.size else few
    filled = filled if filled.size else np.zeros(1)
    if words & {"pet", "pt", "suv", "fdg"}:
        high = float(np.percentile(filled, 99.8))
        window = f"0 to {high:.3g}, dark is high"
        return Shown(array, grid, 0.0, high, window, 0.02 * high, inverted=True)
    low, high = (float(value) for value in np.percentile(filled, (0.5, 99.7)))
    edge = low + 0.08 * (high - low)
    return Shown(array, grid, low, high, "", edge)


def sample(image: Shown, grid: Grid, start: Array, steps: Array, shape: tuple[int, ...]) -> Array:
    """Intensities at grid indices `start` + `steps` x (0..shape); NaN outside of the image."""
    across = np.linalg.inv(image.grid.affine) @ grid.affine
    matrix = across[:3, :3] * steps
    offset = across[:3, :3] @ start + across[:3, 3]
    return ndimage.affine_transform(
        image.array, matrix, offset, shape, np.float32, order=1, cval=np.nan, prefilter=False
    )


def slice_of(image: Shown, grid: Grid, plane: str, index: int) -> Array:
    """An upright grid's slice of an image, as a picture (rows, columns), resampled if need be."""
    axis = PLANES.index(plane)
    if image.grid.same_as(grid):
        return picture_of(image.array, plane, index).astype(np.float32)
    start, shape = np.zeros(3), list(grid.shape)
    start[axis], shape[axis] = index, 1
    return picture_of(sample(image, grid, start, np.ones(3), tuple(shape)), plane, 0)


def picture_of(array: Array, plane: str, index: int) -> Array:
    """A slice of an upright array as a picture (rows, columns), the patient's right on its left."""
    return array[(slice(None),) * PLANES.index(plane) + (index,)].T[::-1, ::-1]


def contrast(values: Array, inside: Array, shell: Array) -> float:
    """How far two parts of a slice lie apart: difference of means over the standard deviation."""
    one, other = (values[part & np.isfinite(values)] for part in (inside, shell))
    if not one.size or not other.size:
        return 0.0
    return float(abs(one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2 + 1e-12))


def tinted(grey: Array, share: Array, colour: tuple[int, int, int]) -> Array:
    """Grey values (rows, columns) that a colour covers where `share` (0 to 255) is large."""
    cover = (share / 255.0)[..., None]
    return np.asarray((1 - cover) * grey[..., None] + cover * np.array(colour)).astype(np.uint8)


def data_uri(picture: Image.Image, kind: str = "png") -> str:
    """A picture as the text of an embedded PNG, or of a `jpeg`, where a few grey levels may go."""
    buffer = io.BytesIO()
    options = {"compress_level": 6} if kind == "png" else {"quality": 92, "subsampling": 0}
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def image_tag(grey: Array, box: tuple[float, float, float, float], pixels: int) -> str:
    """Grey or colour values (rows, columns) drawn over `box` (x, y, width, height)."""
    x, y, width, height = box
    size = np.maximum(1, np.round(np.array([width, height]) / max(width, height) * pixels))
    fine = Image.fromarray(grey).resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC)
    return (
        f'<image x="{x:.3f}" y="{y:.3f}" width="{width:.3f}" height="{height:.3f}" '
        f'preserveAspectRatio="none" href="{data_uri(fine, "jpeg")}"/>'
    )


def outlines(paths: Sequence[tuple[str, str, float]], place: str) -> str:
    """Contours (path, colour, width), each over a dark edge so that it shows on black and white.

    All edges lie below all colours, so that no edge darkens the colour of another contour.
    """
    under = "".join(
        f'<path class="under" transform="{place}" stroke-width="{width + 1.4:.1f}" d="{path}"/>'
        for path, _, width in paths
        if path
    )
    return under + "".join(
        f'<path class="line" transform="{place}" stroke="{colour}" stroke-width="{width:.1f}" '
        f'd="{path}"/>'
        for path, colour, width in paths
        if path
    )


def bar_length(frame: Frame) -> int:
    """How many mm the scale bar of a picture is long: a round number, a third of it at most."""
    return max([length for length in LENGTHS if length <= 0.3 * frame.width] or [LENGTHS[0]])


def furniture(frame: Frame, unit: str, *, letters: bool = True) -> str:
    """Letters at the edges and the scale bar."""
    side = min(frame.width, frame.height)
    size, gap = side * 0.05, side * 0.018
    middle_x, middle_y = frame.x + frame.width / 2, frame.y + frame.height / 2
    right, bottom = frame.x + frame.width, frame.y + frame.height
    spots = (
        (frame.x + gap, middle_y + size / 3, "start"),
        (right - gap, middle_y + size / 3, "end"),
        (middle_x, frame.y + size, "middle"),
        (middle_x, bottom - gap, "middle"),
    )
    marks = [
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size:.2f}" text-anchor="{anchor}">'
        f"{letter}</text>"
        for letter, (x, y, anchor) in zip(EDGES.get(frame.plane, "") if letters else "", spots)
    ]
    length = bar_length(frame)
    x, y = right - 2 * gap, bottom - 2 * gap
    bar = f"M{x - length:.2f} {y:.2f}h{length}"
    marks.append(f'<path class="under bar" d="{bar}"/><path class="bar" d="{bar}"/>')
    marks.append(
        f'<text x="{x:.2f}" y="{y - gap:.2f}" font-size="{0.8 * size:.2f}" text-anchor="end">'
        f"{length} {unit}</text>"
    )
    return "".join(marks)


def svg(frame: Frame, inside: str, title: str) -> str:
    """The frame with what is in it; `title` is read to those who cannot see it."""
    return (
        f'<svg viewBox="{frame.x:.3f} {frame.y:.3f} {frame.width:.3f} {frame.height:.3f}" '
        f'role="img" aria-label="{escape(title)}">{inside}</svg>'
    )
