"""One DICOM series: slices ordered by position along the normal; anything uneven is refused.

Never by file name or InstanceNumber. A missing slice, two slices at one place, a tilted gantry or
mixed stacks make a volume that looks right and measures wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks.series import Series, differences, header, series_in
from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.suv import factor

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TILT_DEGREES = 0.1
EXPORT = "export the series again, complete and by itself"


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """A folder with one series, or one of its slices -> array (i, j, k) and grid in RAS mm.

    i runs along a row, j down a column, k from slice to slice. CT is in HU, PET in SUVbw, MR as
    rescaled. Raises `BadFile` with the folder.
    """
    folder = path if path.is_dir() else path.parent
    series = _one(path, folder, series_in(folder))
    slices = [header(file) for file in series.files]
    for file, head in zip(series.files, slices):
        _check_slice(file, head)
    order, affine = _places(folder, slices)
    slices = [slices[index] for index in order]
    files = [series.files[index] for index in order]
    stacked = np.stack([_pixels(file, head).T for file, head in zip(files, slices)], axis=2)
    array = _rescaled(folder, stacked, slices)
    return array, Grid(array.shape, LPS_TO_RAS @ affine), []


def _one(path: Path, folder: Path, found: list[Series]) -> Series:
    """The series in a folder, without localisers; or that which a file belongs to."""
    if path != folder:
        chosen = [series for series in found if path in series.files]
        if not chosen:
            raise BadFile(path, "is no CT, MR or PET image", "give a folder with one series")
        return chosen[0]
    scans = [series for series in found if not series.localizer]
    if not scans:
        raise BadFile(folder, "holds no CT, MR or PET series", "give a folder with one series")
    if len(scans) > 1:
        cause = f"holds more than one stack of slices ({differences(scans)})"
        raise BadFile(folder, cause, "put each series in a folder of its own")
    return scans[0]


def _check_slice(file: Path, head: Any) -> None:
    if int(head.get("NumberOfFrames") or 1) > 1:
        raise BadFile(file, "holds several frames (enhanced DICOM)", "convert it to single frames")
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not head.get(name):
            raise BadFile(file, f"has no {name}, so its place is unknown", EXPORT)
    if str(head.get("PhotometricInterpretation", "")) != "MONOCHROME2":
        kind = head.get("PhotometricInterpretation", "unstated")
        raise BadFile(file, f"has pixels of the kind {kind}", "export it in grey (MONOCHROME2)")
    if head.get("ModalityLUTSequence"):
        raise BadFile(file, "maps its values by a table (ModalityLUT)", "export it with a slope")


def _places(folder: Path, slices: list[Any]) -> tuple[list[int], Array]:
    """The order of the slices, and the affine to LPS mm."""
    turn = np.array([float(number) for number in slices[0].ImageOrientationPatient])
    along, down = turn[:3], turn[3:]
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if np.abs(np.array(lengths) - 1).max() > 1e-3 or abs(along @ down) > 1e-3:
        raise BadFile(folder, "has an orientation that is not at right angles", EXPORT)
    normal = np.cross(along, down)
    places = np.array([[float(n) for n in head.ImagePositionPatient] for head in slices])
    order = np.argsort(places @ normal, kind="stable")
    places = places[order]
    heights = places @ normal
    if len(slices) == 1:
        step = normal * float(slices[0].get("SliceThickness") or 0)
        if not step.any():
            raise BadFile(folder, "is one slice without SliceThickness", EXPORT)
    else:
        _check_steps(folder, np.diff(heights))
        step = (places[-1] - places[0]) / (len(slices) - 1)
        _check_line(folder, places, step, normal)
    rows, columns = (float(number) for number in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along * columns, down * rows, step], axis=1)
    affine[:3, 3] = places[0]
    return [int(index) for index in order], affine


def _check_steps(folder: Path, steps: Array) -> None:
    middle = float(np.median(steps))
    if steps.min() < max(1e-3, 0.02 * middle):
        count = int((steps < max(1e-3, 0.02 * middle)).sum())
        raise BadFile(folder, f"has {count} slices at the place of another (duplicates)", EXPORT)
    uneven = np.abs(steps - middle) > max(0.05, 0.02 * middle)
    if not uneven.any():
        return
    ratio = steps[uneven] / middle
    if (np.abs(ratio - np.rint(ratio)) < 0.05).all() and (ratio > 1.5).all():
        count = int((np.rint(ratio) - 1).sum())
        raise BadFile(folder, f"lacks {count} of its slices ({middle:.4g} mm apart)", EXPORT)
    cause = f"has uneven slices, from {steps.min():.4g} to {steps.max():.4g} mm apart"
    raise BadFile(folder, cause, "export a series with even slices")


def _check_line(folder: Path, places: Array, step: Array, normal: Array) -> None:
    """All slices lie on one line, and that runs along the normal: no tilt of the gantry."""
    cosine = float(step @ normal) / float(np.linalg.norm(step))
    sideways = np.linalg.norm(step - normal * (step @ normal)) * (len(places) - 1)
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if angle > TILT_DEGREES and sideways > 0.05:
        cause = f"was scanned with a tilt of {angle:.2f} degrees"
        raise BadFile(folder, cause, "export a series that was resampled upright")
    straight = places[0] + np.arange(len(places))[:, None] * step
    apart = float(np.abs(places - straight).max())
    if apart > max(0.1, 0.05 * float(np.linalg.norm(step))):
        raise BadFile(folder, f"has slices up to {apart:.3g} mm off their line", EXPORT)


def _pixels(file: Path, head: Any) -> Array:
    try:
        pixels = np.asarray(head.pixel_array)
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
        cause = f"has pixels that cannot be unpacked ({str(error).splitlines()[0]})"
        raise BadFile(file, cause, "export it without compression, complete") from error
    if pixels.shape != (int(head.Rows), int(head.Columns)):
        raise BadFile(file, f"has pixels of shape {pixels.shape}", EXPORT)
    return pixels


def _rescaled(folder: Path, stored: Array, slices: list[Any]) -> Array:
    """Each slice by its own slope and intercept: stored * slope + intercept."""
    modality = str(slices[0].Modality)
    if modality == "CT" and any(head.get("RescaleSlope") is None for head in slices):
        raise BadFile(folder, "is CT without RescaleSlope, so it is not in HU", EXPORT)
    kinds = {str(head.get("RescaleType") or "HU").upper() for head in slices}
    if modality == "CT" and kinds != {"HU"}:
        raise BadFile(folder, f"is CT in units {', '.join(kinds)}, not HU", EXPORT)
    slopes = np.array([float(_or(head.get("RescaleSlope"), 1)) for head in slices])
    shifts = np.array([float(_or(head.get("RescaleIntercept"), 0)) for head in slices])
    if not (np.isfinite(slopes).all() and np.isfinite(shifts).all() and (slopes != 0).all()):
        raise BadFile(folder, "has a RescaleSlope that is 0 or no number", EXPORT)
    if modality == "PT":
        slopes, shifts = (part * factor(folder, slices[0]) for part in (slopes, shifts))
    elif (slopes == 1).all() and (shifts == np.rint(shifts)).all():
        whole = stored.astype(np.int64) + shifts.astype(np.int64)
        small = np.iinfo(np.int16)
        fits = whole.min() >= small.min and whole.max() <= small.max
        return whole.astype(np.int16 if fits else np.int32)
    return (stored.astype(np.float64) * slopes + shifts).astype(np.float32)


def _or(value: Any, default: float) -> Any:
    return default if value in (None, "") else value
