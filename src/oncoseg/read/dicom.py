"""One DICOM series as a volume: HU, SUV or rescaled values; whatever is uneven in it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncoseg.blocks.instances import Instance, instance, understood
from oncoseg.blocks.series import Series, differences, series_in
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.frames import Frame, frames_of
from oncoseg.read.pixels import stored
from oncoseg.read.places import EXPORT, ordered
from oncoseg.read.suv import factor

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
DRAWINGS = ("RTSTRUCT", "SEG")


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """A folder with one series, one of its slices, or a DICOMDIR -> array (i, j, k), grid, notes.

    i runs along a row, j down a column, k from slice to slice; the grid is in RAS mm. CT is in
    HU, PET in SUVbw, MR as rescaled. Raises `BadFile` with the folder or the file.
    """
    series = chosen(path)
    folder = folder_of(path)
    with understood(folder):
        frames, grid, notes = laid_out(folder, series)
        return _values(folder, series, frames), grid, notes + _lossy(series)


def folder_of(path: Path) -> Path:
    """The folder in which a series, or the file that stands for it, lies."""
    return path if path.is_dir() else path.parent


def chosen(path: Path) -> Series:
    """The series in a folder, without localisers; or that which a file belongs to."""
    folder = folder_of(path)
    found = series_in(folder)
    if path != folder and path.name.upper() != "DICOMDIR":
        own = [series for series in found if path in series.files]
        if not own:
            _refuse_drawing(path, instance(path))
            raise BadFile(path, "is no CT, MR or PET image", "give a folder with one series")
        return own[0]
    scans = [series for series in found if not series.localizer]
    if not scans:
        raise BadFile(folder, "holds no CT, MR or PET series", "give a folder with one series")
    if len(scans) > 1:
        cause = f"holds more than one stack of slices ({differences(scans)})"
        raise BadFile(folder, cause, "put each series in a folder of its own")
    return scans[0]


def _refuse_drawing(path: Path, one: Instance) -> None:
    if (kind := one.text("Modality")) in DRAWINGS:
        raise BadFile(path, f"is a label map ({kind}), no image", "give it as a label")


def laid_out(folder: Path, series: Series) -> tuple[list[Frame], Grid, list[str]]:
    """The planes of a series in order along its normal, the grid of RAS mm, and notes."""
    frames = [frame for one in series.instances for frame in frames_of(one)]
    frames, affine, notes = ordered(folder, frames)
    rows, columns = series.key[3]
    grid = Grid((columns, rows, len(frames)), LPS_TO_RAS @ affine)
    return frames, grid, [*series.notes, *notes]


def _lossy(series: Series) -> list[str]:
    lossy = any(one.text("LossyImageCompression") == "01" for one in series.instances)
    return ["its pixels were compressed with loss"] if lossy else []


def _values(folder: Path, series: Series, frames: Sequence[Frame]) -> Array:
    """Each slice by its own slope and intercept: stored * slope + intercept."""
    slopes, shifts = _scales(folder, series, frames)
    unpacked = {one.path: stored(one) for one in series.instances}
    slices = [unpacked[frame.instance.path][frame.index] for frame in frames]
    if series.modality == "PT":
        scale = factor(folder, [one.head for one in series.instances])
        slopes, shifts = slopes * scale, shifts * scale
    elif (slopes == 1).all() and (shifts == np.rint(shifts)).all():
        return _whole(slices, shifts)
    values = np.empty((len(slices), *slices[0].shape), np.float32)
    for place, pixels, slope, shift in zip(values, slices, slopes, shifts):
        np.add(pixels.astype(np.float64) * slope, shift, out=place, casting="same_kind")
    return values.T


def _whole(slices: Sequence[Array], shifts: Array) -> Array:
    """Whole numbers stay whole, in the smallest usual type that holds them."""
    moved = [int(shift) for shift in shifts]
    low = min(int(pixels.min()) + shift for pixels, shift in zip(slices, moved))
    high = max(int(pixels.max()) + shift for pixels, shift in zip(slices, moved))
    dtype = next(
        kind
        for kind in (np.int16, np.int32, np.int64)
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max
    )
    values = np.empty((len(slices), *slices[0].shape), dtype)
    for place, pixels, shift in zip(values, slices, moved):
        np.add(pixels, shift, out=place, dtype=np.int64, casting="unsafe")
    return values.T


def _scales(folder: Path, series: Series, frames: Sequence[Frame]) -> tuple[Array, Array]:
    slopes = np.array([frame.slope for frame in frames])  # NaN: not stated
    if series.modality == "CT":
        if np.isnan(slopes).any():
            raise BadFile(folder, "is CT without RescaleSlope, so it is not in HU", EXPORT)
        kinds = {frame.kind or "HU" for frame in frames}
        if kinds != {"HU"}:
            raise BadFile(folder, f"is CT in units {', '.join(sorted(kinds))}, not HU", EXPORT)
    slopes = np.where(np.isnan(slopes), 1.0, slopes)
    shifts = np.array([frame.intercept for frame in frames])
    if not (slopes != 0).all():
        raise BadFile(folder, "has a RescaleSlope of 0", EXPORT)
    if np.abs(shifts).max() > 1e9 or np.abs(slopes).max() > 1e9:
        raise BadFile(folder, "has a RescaleSlope or RescaleIntercept absurdly large", EXPORT)
    return slopes, shifts
