"""Examples: a slice of a held-out case, and outlines on it that get better while it trains.

An example is JSON: `picture` (a PNG as a data URI), `size` (columns, rows), `pixel` (width, height
of one), `where` in words, `box` (rows, columns) of the slice `index` along `axis`, outlines of the
`truth` by region as SVG paths in half pixels, and those `seen` as [step, by region].
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from oncoseg.blocks.contours import svg_path
from oncoseg.blocks.modalities import COLOURS
from oncoseg.blocks.planes import PLANES
from oncoseg.case import Array, Task
from oncoseg.report import slices
from oncoseg.report.pictures import colours

PIXELS = 200  # of a picture, along its longer side
FINE = 160  # pixels of a slice along its longer side, up to which outlines are drawn as they are
LONGEST = 5000  # letters of an outline
MARGIN = 2.5  # times the longer side of the truth, shown around it at most
THICK = 1.5  # times as long as the next, from which voxels make slices along their longest side


def begun(image: Array, present: Array, true: Array, task: Task) -> dict[str, Any]:
    """The example of an image (M, *S), where it is `present`, and its label map (*S)."""
    masks = masks_of(true, task)
    anywhere = np.any(list(masks.values()), axis=0)
    axis = _axis(task)
    index = _widest(anywhere, axis)
    inside = _flat(anywhere, axis, index)
    rows, columns = (_span(inside, side) for side in (0, 1))
    box = (slice(*rows), slice(*columns))
    there = [place for place in range(len(image)) if present[place].any()] or [0]
    cuts = [_flat(image[place], axis, index)[box] for place in there]
    if len(there) == 3 and set(task.modalities) == set(COLOURS):
        shown, name = np.stack([cuts[task.modalities.index(one)] for one in COLOURS], -1), "colours"
    else:
        best = _telling(cuts, inside[box])
        shown, name = cuts[best], task.modalities[there[best]]
    wide, high = _pixel(task, axis)
    example = {
        "picture": _png(shown, wide, high),
        "size": [shown.shape[1], shown.shape[0]],
        "pixel": [wide, high],
        "where": _where(task, axis, index, true.shape, name),
        "axis": axis,
        "index": index,
        "box": [list(rows), list(columns)],
        "seen": [],
    }
    return {**example, "truth": drawn(true, task, example)}


def drawn(label: Array, task: Task, example: Mapping[str, Any]) -> dict[str, str]:
    """The outlines of a label map (*S) in the slice of an example, by region."""
    box = tuple(slice(*side) for side in example["box"])
    cut = _flat(label, example["axis"], example["index"])[box]
    return {name: _outline(mask) for name, mask in masks_of(cut, task).items()}


def masks_of(label: Array, task: Task) -> dict[str, Array]:
    """Where each region is, in a label map of any shape."""
    return {
        name: np.isin(label, [task.labels[member] for member in members])
        for name, members in task.regions.items()
    }


def pictures(examples: Mapping[str, Mapping[str, Any]], step: int) -> dict[str, Array]:
    """Case -> picture (rows, columns, 3) with the outlines of a step, of three cases at most."""
    found = {}
    for case, example in list(examples.items())[:3]:
        for at, outlines in example["seen"]:
            if at == step:
                found[case] = _raster(example, outlines)
    return found


def _raster(example: Mapping[str, Any], outlines: Mapping[str, str]) -> Array:
    data = base64.b64decode(example["picture"].partition(",")[2])
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    scale = [side / (2 * count) for side, count in zip(picture.size, example["size"])]
    pen, tints = ImageDraw.Draw(picture), colours(example["truth"])
    for paths, tint in ((example["truth"], None), (outlines, tints)):
        for name, path in paths.items():
            for polygon in _polygons(path):
                points = [(x * scale[0], y * scale[1]) for x, y in polygon]
                pen.line([*points, points[0]], fill=tint[name] if tint else "#FFFFFF", width=1)
    return np.asarray(picture)


def _polygons(path: str) -> list[list[tuple[int, int]]]:
    """The closed polygons of a path that `svg_path` wrote."""
    found = []
    for part in path.split("M")[1:]:
        start, _, moves = part.removesuffix("z").partition("l")
        steps = np.array([start.split(), *np.reshape(moves.split(), (-1, 2))], dtype=int)
        found.append([(int(x), int(y)) for x, y in steps.cumsum(axis=0)])
    return found


def _axis(task: Task) -> int:
    """The axis that slices are cut along: that of long voxels, else head to foot; -1 in 2-D."""
    if task.dims == 2:
        return -1
    order = np.argsort(task.spacing)
    long = task.spacing[order[-1]] > THICK * task.spacing[order[-2]]
    return int(order[-1]) if long else 2


def _widest(mask: Array, axis: int) -> int:
    """The slice with the largest area, the middle one of an empty mask."""
    if axis < 0:
        return 0
    area = mask.sum(axis=tuple({0, 1, 2} - {axis}))
    return int(area.argmax()) if area.any() else mask.shape[axis] // 2


def _flat(array: Array, axis: int, index: int) -> Array:
    """A slice as a picture (rows, columns); grids of plans run to the right, front and head."""
    return array if axis < 0 else slices.picture_of(array, PLANES[axis], index)


def _pixel(task: Task, axis: int) -> tuple[float, float]:
    if axis < 0:
        return float(task.spacing[1]), float(task.spacing[0])
    across, down = slices.ACROSS[PLANES[axis]]
    return float(task.spacing[across]), float(task.spacing[down])


def _where(task: Task, axis: int, index: int, shape: tuple[int, ...], name: str) -> str:
    if axis < 0:
        return name if task.inputs > 1 else ""
    return f"{PLANES[axis]} slice {index + 1} of {shape[axis]}, {name}"


def _span(mask: Array, side: int) -> tuple[int, int]:
    """First and last+1 row or column that is shown: around the mask, all if it is empty."""
    size = mask.shape[side]
    there = np.flatnonzero(mask.any(axis=1 - side))
    if not there.size:
        return 0, size
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    longest = max(part.stop - part.start for part in box)
    margin = max(12, round(MARGIN * longest))
    return max(0, int(there[0]) - margin), min(size, int(there[-1]) + 1 + margin)


def _telling(cuts: list[Array], inside: Array) -> int:
    """The image in which the truth stands out most from what lies around it."""
    shell = ndimage.binary_dilation(inside, iterations=8) & ~inside
    return int(np.argmax([slices.contrast(cut, inside, shell) for cut in cuts]))


def _png(values: Array, wide: float, high: float) -> str:
    """Values (rows, columns) or (rows, columns, 3) as a picture of square pixels."""
    filled = np.nan_to_num(values.astype(np.float32))
    low, top = np.percentile(filled, (0.5, 99.7))
    grey = np.clip((filled - low) / max(float(top - low), 1e-6), 0, 1)
    size = np.array([values.shape[1] * wide, values.shape[0] * high])
    size = np.maximum(1, np.round(size / size.max() * PIXELS)).astype(int)
    picture = Image.fromarray((grey * 255).round().astype(np.uint8))
    width, height = (int(side) for side in size)
    return slices.data_uri(picture.resize((width, height), Image.Resampling.BICUBIC))


def _outline(mask: Array) -> str:
    """The outline of a mask as a path, the coarser the more there is of it."""
    factor = -(-max(mask.shape) // FINE)
    path = svg_path(_coarse(mask, factor))
    while len(path) > LONGEST and factor < max(mask.shape):
        factor *= 2
        path = svg_path(_coarse(mask, factor))
    return path


def _coarse(mask: Array, factor: int) -> Array:
    """A mask (rows, columns) in which each block of so many pixels is what most of them are."""
    if factor < 2:
        return mask
    rows, columns = mask.shape
    padded = np.pad(mask, [(0, -rows % factor), (0, -columns % factor)])
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor)
    most = blocks.mean(axis=(1, 3)) > 0.5
    return most.repeat(factor, 0).repeat(factor, 1)[:rows, :columns]
