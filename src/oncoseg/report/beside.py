"""Pictures of what changed: each lesion now, and the same place of the scan before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.registration import moved
from oncoseg.blocks.segments import Segment
from oncoseg.case import Array, Grid, Prediction, Volume
from oncoseg.errors import OncosegError
from oncoseg.read import read_volume
from oncoseg.report.pictures import Atlas
from oncoseg.report.records import Figure, Plate
from oncoseg.response import Compared
from oncoseg.response.changes import course
from oncoseg.response.match import SHOWN, Track

COUNT = 4  # lesions that are pictured
TEXT = (
    "The scan before was turned and resampled to lie as this one does; sizes were measured on the "
    "scan as it is. Contours are those of each scan."
)


def beside(now: Prediction, images: Mapping[str, Volume], compared: Compared) -> list[Plate]:
    """Up to four lesions that changed most, before and now; none without an image of both."""
    changed = sorted(filter(_changed, compared.tracks), key=_change)[-COUNT:][::-1]
    if not changed or not images:
        return []
    here = Atlas(now, images)
    name = here.telling("axial")
    earlier = _resampled(compared, now.grid, name)
    if earlier is None:
        return []
    there, plane = Atlas(*earlier), slice_axis(now.grid)[1]
    figures = []
    for track in changed:
        place = _place(track, compared.matrix, now.grid)
        if place is None:
            continue
        told = course(track, compared.tracks) if track.states[-1].kind == SHOWN else "resolved"
        for atlas, when, state in zip((there, here), ("before", "now"), track.states[-2:]):
            picture, where = atlas.around(name, plane, place)
            size = f"{state.volume:.3g} ml" if state.lesions else state.kind
            figures.append(Figure(picture, f"{track.id}, {when}", f"{size}; {told}, {where}"))
    return [Plate("Beside the scan before", f"{name}. {TEXT}", figures, 4, "small")]


def _changed(track: Track) -> bool:
    """Whether it was seen in one of the last two scans alone, or its volume changed."""
    before, last = track.states[-2:]
    if before.kind == last.kind == SHOWN:
        return abs(last.volume - before.volume) > np.hypot(last.error, before.error)
    return {before.kind, last.kind} in ({"gone", SHOWN}, {"too small", SHOWN})


def _change(track: Track) -> float:
    return abs(track.states[-1].volume - track.states[-2].volume)


def _resampled(
    compared: Compared, grid: Grid, name: str
) -> tuple[Prediction, dict[str, Volume]] | None:
    """The earlier prediction and its image on the present grid, if the image can be read."""
    prior = compared.prior
    try:
        image = read_volume(prior.images[name], prior.channels.get(name))
    except (KeyError, OncosegError, OSError):
        return None
    array, _ = moved(image, grid, compared.matrix)
    label, _ = moved(Volume(prior.label, prior.grid, Path(name)), grid, compared.matrix, order=0)
    there = prior.but(grid=grid, label=label, probability=np.zeros((0, *grid.shape), np.float16))
    return there, {name: Volume(array, grid, image.path)}


def _place(track: Track, matrix: Array, grid: Grid) -> Segment | None:
    """Where a track lies on the present grid: now, or where it lay before; None if outside."""
    before, last = track.states[-2:]
    found = last.lesions or before.lesions
    places = np.concatenate([one.places for one in found])
    back = np.linalg.inv(grid.affine)
    back = back if last.lesions else back @ np.linalg.inv(matrix)
    index = np.round(places @ back[:3, :3].T + back[:3, 3]).astype(int)
    index = index[((index >= 0) & (index < grid.shape)).all(axis=1)]
    if not len(index):
        return None
    mask = np.zeros(grid.shape, dtype=bool)
    mask[tuple(index.T)] = True
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(index.min(axis=0), index.max(axis=0)))
    return Segment(1, track.id, track.region, mask, box)
