"""RTSTRUCT: contours in millimetres -> a label map on the grid of the series they were drawn on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.blocks.drawings import CLOSED, Drawing
from oncoseg.blocks.instances import shown
from oncoseg.blocks.polygons import combined, filled
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.painted import Painted

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LEVEL = 0.1  # of a slice: a contour that rises more is not in the plane of a slice
TOGETHER_MM = 0.01  # contours nearer to one another than this are of one plane
DRAW = "draw it on the slices of its own series, and export it again"


@dataclass(frozen=True)
class Outline:
    """A closed contour: vertices (P, 2) as (i, j), and its height k, all in voxels."""

    points: Array
    height: float
    alternate: bool


def paint(one: Drawing, wanted: Mapping[int, int], grid: Grid) -> tuple[Array, list[str]]:
    """Label map (i, j, k) of the structures in `wanted` (ROI number -> value), and notes.

    Raises `BadFile` if two structures overlap, or a contour lies on no slice.
    """
    painted = Painted(one, wanted, grid)
    for roi in one.head.ROIContourSequence:
        number = int(roi.ReferencedROINumber)
        if number in wanted:
            _paint(painted, number, _outlines(one, roi, one.names[number], grid))
    return painted.finished()


def _outlines(one: Drawing, roi: Any, name: str, grid: Grid) -> list[Outline]:
    inverse = np.linalg.inv(LPS_TO_RAS @ grid.affine)
    found = []
    for contour in roi.get("ContourSequence") or ():
        kind = shown(contour.get("ContourGeometricType", ""))
        if kind not in CLOSED:
            raise BadFile(one.path, f"draws {name} with {kind or 'unnamed'} contours too", DRAW)
        points = _points(one, contour, name)
        if len(points) < 3:
            continue  # a point or a line holds no voxel
        voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
        height = float(voxels[:, 2].mean())
        if float(np.ptp(voxels[:, 2])) > 2 * LEVEL:
            raise BadFile(one.path, f"draws {name} across the slices of its series", DRAW)
        if not -0.5 <= height <= grid.shape[2] - 0.5:
            cause = f"draws {name} outside of its series, {_beyond(height, grid):.4g} mm beyond it"
            raise BadFile(one.path, cause, "give the whole series that it was drawn on")
        found.append(Outline(voxels[:, :2], height, kind != "CLOSED_PLANAR"))
    return found


def _beyond(height: float, grid: Grid) -> float:
    return max(-height, height - (grid.shape[2] - 1)) * grid.spacing[2]


def _points(one: Drawing, contour: Any, name: str) -> Array:
    """(P, 3) LPS mm. The text is taken as it is: thousands of numbers are slow one by one."""
    raw = contour.get_item("ContourData")
    value = b"" if raw is None else raw.value
    if isinstance(value, bytes):
        text = value.decode("ascii").strip("\0 ")
        value = [float(number) for number in text.split("\\")] if text else []
    numbers = np.array([float(number) for number in value or ()])
    count = contour.get("NumberOfContourPoints")
    if len(numbers) % 3 or not np.isfinite(numbers).all():
        raise BadFile(one.path, f"draws {name} with points that are not in space", DRAW)
    if count not in (None, "") and int(count) * 3 != len(numbers):
        cause = f"promises {count} points in a contour of {name}, but has {len(numbers) // 3}"
        raise BadFile(one.path, cause, "export it again, complete")
    return numbers.reshape(-1, 3)


def _paint(painted: Painted, number: int, outlines: list[Outline]) -> None:
    name, grid = painted.one.names[number], painted.grid
    slices: dict[int, list[Outline]] = defaultdict(list)
    for outline in outlines:
        slices[int(np.clip(np.rint(outline.height), 0, grid.shape[2] - 1))].append(outline)
    _check_drawn(painted, name, sorted(slices), outlines)
    columns, rows = grid.shape[:2]
    for index, there in slices.items():
        nearest = min(there, key=lambda outline: abs(outline.height - index)).height
        close = TOGETHER_MM / grid.spacing[2]
        plane = [outline for outline in there if abs(outline.height - nearest) <= max(close, LEVEL)]
        if len(plane) < len(there):
            painted.note(f"{name} was drawn on planes between the slices too; these were left out")
        masks = [filled(outline.points, (rows, columns)) for outline in plane]
        try:
            mask = combined(masks, alternate=any(outline.alternate for outline in plane))
        except ValueError as error:
            cause = f"draws {name} with contours that cross one another on slice {index + 1}"
            raise BadFile(painted.one.path, cause, "join them where they were drawn") from error
        painted.add(number, index, mask)


def _check_drawn(painted: Painted, name: str, drawn: list[int], outlines: list[Outline]) -> None:
    """What reads well, but may not be what was meant."""
    gaps = set(np.diff(drawn).tolist())
    if len(drawn) > 2 and len(gaps) == 1 and min(gaps) > 1:
        cause = f"draws {name} on every {min(gaps)}. slice alone"
        remedy = "interpolate it where it was drawn, and export it again"
        raise BadFile(painted.one.path, cause, remedy)
    if gaps - {1}:
        left = drawn[-1] - drawn[0] + 1 - len(drawn)
        painted.note(f"{name} is not drawn on {left} slices between its first and its last")
    apart = max((abs(outline.height - round(outline.height)) for outline in outlines), default=0.0)
    if apart > LEVEL:
        away = apart * painted.grid.spacing[2]
        painted.note(
            f"{name} was drawn up to {away:.2g} mm from the slices; the nearest were taken"
        )
    columns, rows = painted.grid.shape[:2]
    points = (
        np.concatenate([outline.points for outline in outlines]) if outlines else np.zeros((1, 2))
    )
    if (points < -0.5).any() or (points > np.array([columns, rows]) - 0.5).any():
        painted.note(f"{name} reaches beyond the edges of its series; it was cut there")
