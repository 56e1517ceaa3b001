"""DICOM SEG: frames of segments placed by their position; binary, fractional and label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oncoseg.blocks.drawings import Drawing
from oncoseg.blocks.instances import instance, shown
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.frames import flat, number, numbers
from oncoseg.read.painted import Painted
from oncoseg.read.pixels import stored

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
OFF = 0.05  # of a voxel: how far a frame may lie beside a slice
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
AGAIN = "export it again on the slices of its series"


def paint(
    one: Drawing, wanted: Mapping[int, int], grid: Grid | None
) -> tuple[Array, Grid, list[str]]:
    """Label map (i, j, k) of the segments in `wanted` (number -> value), its grid, and notes.

    It lies on `grid`, else on one of its own. Raises `BadFile` if segments overlap, or a frame
    lies on no slice.
    """
    kind = shown(one.head.get("SegmentationType", ""))
    if kind not in KINDS:
        raise BadFile(one.path, f"is a segmentation of the kind '{kind}'", "export it as BINARY")
    words = _words(one)
    frames = stored(instance(one.path))
    own = _own_affine(one, words)
    notes = []
    if grid is None:
        grid = _own_grid(one, words, own, frames.shape)
        notes = ["the series it was made on is not beside it; it lies on a grid of its own"]
    painted = Painted(one, wanted, grid)
    for sentence in notes:
        painted.note(sentence)
    places = [_place(one, numbers(said["ImagePositionPatient"]), own, grid) for said in words]
    for said, place, pixels in zip(words, places, frames):
        _paint(painted, kind, said, place, pixels)
    array, notes = painted.finished()
    return array, grid, notes


def _words(one: Drawing) -> list[dict[str, Any]]:
    """What is said of each frame, by keyword."""
    shared: dict[str, Any] = {}
    for group in one.head.get("SharedFunctionalGroupsSequence") or ():
        shared.update(flat(group))
    found = [
        {**shared, **flat(group)}
        for group in one.head.get("PerFrameFunctionalGroupsSequence") or ()
    ]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not found or not all(said.get(name) for said in found):
            cause = f"has no {name}, so its place is unknown"
            raise BadFile(one.path, cause, "use one made on a CT, MR or PET series")
    if len(found) != int(one.head.get("NumberOfFrames") or 1):
        raise BadFile(one.path, f"describes {len(found)} of its frames", AGAIN)
    return found


def _own_affine(one: Drawing, words: Sequence[Mapping[str, Any]]) -> Array:
    """Voxel to LPS mm but for the place: (3, 3), the third column without a length."""
    alike = {
        (*numbers(said["ImageOrientationPatient"]), *numbers(said["PixelSpacing"]))
        for said in words
    }
    if len(alike) > 1:
        raise BadFile(one.path, "holds frames of different orientations", AGAIN)
    *turn, rows, columns = alike.pop()
    along, down = np.array(turn[:3]), np.array(turn[3:])
    return np.stack([along * columns, down * rows, np.cross(along, down)], axis=1)


def _own_grid(
    one: Drawing, words: Sequence[Mapping[str, Any]], own: Array, shape: tuple[int, ...]
) -> Grid:
    """From the lowest frame to the highest, with empty slices where none is stored between."""
    places = np.array([numbers(said["ImagePositionPatient"]) for said in words])
    heights = places @ own[:, 2]
    said = words[0]
    step = number(said.get("SpacingBetweenSlices"), number(said.get("SliceThickness"), 0.0))
    if not step > 0:
        raise BadFile(one.path, "does not say how far its slices lie apart", AGAIN)
    count = int(np.rint((heights.max() - heights.min()) / step)) + 1
    if count > 20 * len(words) + 1000:
        raise BadFile(one.path, f"spreads {len(words)} frames over {count} slices", AGAIN)
    affine = np.eye(4)
    affine[:3, :3] = own * [1, 1, step]
    affine[:3, 3] = places[np.argmin(heights)]
    return Grid((shape[2], shape[1], count), LPS_TO_RAS @ affine)


def _place(one: Drawing, place: Sequence[float], own: Array, grid: Grid) -> tuple[int, int, int]:
    """The voxel of the grid at which a frame's first pixel lies."""
    affine = LPS_TO_RAS @ grid.affine
    if np.abs(affine[:3, :2] - own[:, :2]).max() * max(grid.shape[:2]) > OFF * min(grid.spacing):
        cause = "lies on another grid than its series (orientation or spacing)"
        raise BadFile(one.path, cause, AGAIN)
    index = np.linalg.solve(affine[:3, :3], np.array(place) - affine[:3, 3])
    whole = np.rint(index)
    if np.abs(index - whole).max() > OFF:
        off = float(np.linalg.norm(affine[:3, :3] @ (index - whole)))
        raise BadFile(one.path, f"has a frame {off:.3g} mm beside the slices of its series", AGAIN)
    return int(whole[0]), int(whole[1]), int(whole[2])


def _paint(
    painted: Painted, kind: str, said: Mapping[str, Any], place: tuple[int, int, int], pixels: Array
) -> None:
    columns, rows, slices = painted.grid.shape
    i, j, k = place
    inside = 0 <= k < slices and i >= 0 and j >= 0
    if not inside or i + pixels.shape[1] > columns or j + pixels.shape[0] > rows:
        raise BadFile(painted.one.path, "has a frame outside of its series", AGAIN)
    if kind == "LABELMAP":
        masks = {segment: pixels == segment for segment in painted.wanted}
    else:
        own = int(said["ReferencedSegmentNumber"])
        if own not in painted.one.names:
            raise BadFile(painted.one.path, f"has a frame of an unknown segment {own}", AGAIN)
        masks = {own: _inside(painted, kind, pixels)} if own in painted.wanted else {}
    for segment, mask in masks.items():
        plane = np.zeros((rows, columns), dtype=bool)
        plane[j : j + pixels.shape[0], i : i + pixels.shape[1]] = mask
        painted.add(segment, k, plane)


def _inside(painted: Painted, kind: str, pixels: Array) -> Array:
    if kind == "BINARY":
        return pixels > 0
    most = int(painted.one.head.MaximumFractionalValue)
    what = shown(painted.one.head.get("SegmentationFractionalType", "fraction")).lower()
    painted.note(f"its segments are fractional ({what}); a voxel is inside from one half up")
    return 2 * pixels.astype(np.int64) >= most
