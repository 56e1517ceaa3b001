"""DICOM label maps: which structure of an RTSTRUCT or a SEG gets which value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oncoseg.blocks.drawings import Drawing, beside, drawing, drawings_in, fold, plain_names
from oncoseg.blocks.instances import understood
from oncoseg.blocks.series import Series, dicom_files
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read import dicom, dicom_seg, rtstruct


def read(
    path: Path, labels: Mapping[str, int] | None = None, image: Path | None = None
) -> tuple[Array, Grid, list[str]]:
    """An RTSTRUCT, a SEG or a series of label values -> label map (i, j, k), grid, notes.

    Structures are taken by name from `labels` (name -> value), others left out; without it all are
    taken, by the number of their segment, or counted from 1 in the order of their ROI numbers.
    `image` is the series it was drawn on; else that is looked for in the folders around.
    """
    one = _drawing(path)
    if one is None:
        return dicom.read(path)
    with understood(one.path):
        series = dicom.chosen(image) if image is not None else _found(one)
        wanted, notes = chosen(one, labels, series.modality if series else "")
        grid = _grid(one, series)
        if one.kind == "RTSTRUCT" and grid is not None:
            array, more = rtstruct.paint(one, wanted, grid)
        else:
            array, grid, more = dicom_seg.paint(one, wanted, grid)
        return array, grid, notes + more


def _drawing(path: Path) -> Drawing | None:
    """What a file draws, or the one drawing in a folder without images."""
    if path.is_file():
        return drawing(path)
    found = drawings_in(dicom_files(path))
    return found[0] if len(found) == 1 and len(dicom_files(path)) == 1 else None


def _found(one: Drawing) -> Series | None:
    """The series beside; a SEG has a grid of its own where that is not there."""
    try:
        return beside(one)
    except BadFile:
        if one.kind == "SEG":
            return None
        raise


def _grid(one: Drawing, series: Series | None) -> Grid | None:
    if series is None:
        return None
    if one.series and not one.on(series):
        cause = "was drawn on another series than its image"
        raise BadFile(one.path, cause, "give it with the series it was drawn on")
    if one.frame and series.frame and one.frame != series.frame:
        cause = "lies in another frame of reference than its image"
        raise BadFile(one.path, cause, "register the two, and export it again")
    return dicom.laid_out(series.files[0].parent, series)[1]


def chosen(
    one: Drawing, labels: Mapping[str, int] | None, modality: str
) -> tuple[dict[int, int], list[str]]:
    """Number of each structure that is wanted -> its value, and notes on the rest."""
    short = plain_names(one.names, modality) if modality else dict(one.names)
    if labels is None:
        counted = one.names if one.kind == "SEG" else sorted(one.names)
        values = {number: number if one.kind == "SEG" else rank
                  for rank, number in enumerate(counted, 1)}  # fmt: skip
        said = ", ".join(f"{value} is {one.names[number]}" for number, value in values.items())
        return values, [f"no names were asked for: {said}"] if len(values) > 1 else []
    wanted: dict[int, int] = {}
    for name, value in labels.items():
        fits = [number for number in one.names if fold(one.names[number]) == fold(name)]
        fits = fits or [number for number in one.names if fold(short[number]) == fold(name)]
        if len(fits) > 1:
            cause = f"names {len(fits)} structures {name}"
            raise BadFile(one.path, cause, "rename one of them where they were drawn")
        wanted.update(dict.fromkeys(fits, value))
    has = ", ".join(sorted(short.values()))
    if not wanted:
        cause = f"draws {has or 'nothing'}, none of which is {' or '.join(labels)}"
        raise BadFile(one.path, cause, "give the labels the names that it has")
    left = sorted(name for number, name in short.items() if number not in wanted)
    lacks = [name for name, value in labels.items() if value not in wanted.values()]
    notes = [f"left out of its structures: {', '.join(left)}"] if left else []
    absent = f"draws no {' and no '.join(lacks)}: taken as not there"
    return wanted, [*notes, absent] if lacks else notes
