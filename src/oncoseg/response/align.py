"""Bring an earlier scan onto the present one: where its points lie, and whether that is trusted."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oncoseg.blocks.instances import instance, understood
from oncoseg.blocks.layouts import is_dicom
from oncoseg.blocks.registration import Registration, assess, moved, register
from oncoseg.case import Array, Prediction, Volume
from oncoseg.errors import BadData, OncosegError
from oncoseg.read import read_volume
from oncoseg.write.source import silent

ALIKE = 0.5  # median local correlation: below, two people rather than one
SAME = 0.01  # by how much of it a motion has to be better than none
SURE = 0.97  # so alike in one frame of reference that no motion is looked for
REMEDY = "give a prediction of the same patient, made of scans that are still where they were"


@dataclass(frozen=True)
class Told:
    """What files say of a scan: whose it is and its day; empty and None if they do not.

    The patient's number is only ever compared, never shown.
    """

    patient: str = field(default="", repr=False)
    day: dt.date | None = None


@dataclass(frozen=True)
class Aligned:
    """`matrix` (4, 4) takes points of the present scan to the earlier one, both in RAS mm.

    `quality` is how well, `error_mm` what a place may be wrong by, `said` both in a sentence.
    """

    matrix: Array
    quality: Registration
    error_mm: float
    said: str

    def labels(self, earlier: Prediction, now: Prediction) -> tuple[Array, Array]:
        """The earlier label map on the present grid (*S), and which voxels that scan covers."""
        source = Volume(earlier.label, earlier.grid, Path(earlier.case))
        return moved(source, now.grid, self.matrix, order=0)


def told(images: Mapping[str, Path]) -> Told:
    """Patient and day of a case, by the first of its images that is DICOM and says so."""
    for path in images.values():
        try:
            if file := _dicom(path):
                return _told(file)
        except (OncosegError, OSError):
            continue
    return Told()


def _dicom(path: Path) -> Path | None:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((file for file in files if is_dicom(file)), None)


def _told(file: Path) -> Told:
    head = instance(file, whole=True).head
    with understood(file), silent():
        patient = str(head.get("PatientID") or "").strip()
        for name in ("AcquisitionDate", "SeriesDate", "StudyDate"):
            text = str(head.get(name) or "")
            if len(text) == 8 and text.isdigit():
                return Told(patient, _day(text))
        return Told(patient)


def _day(text: str) -> dt.date | None:
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def same_patient(now: Prediction, earlier: Prediction) -> tuple[Told, Told]:
    """What files tell of both scans; raises `BadData` if they name two patients, or the future."""
    ours, theirs = told(now.images), told(earlier.images)
    if ours.patient and theirs.patient and ours.patient != theirs.patient:
        raise BadData(
            f"case {now.case} and prior {earlier.case} are of two patients by their DICOM files; "
            f"{REMEDY}"
        )
    if ours.day and theirs.day and theirs.day > ours.day:
        raise BadData(
            f"prior {earlier.case} is {(theirs.day - ours.day).days} days later than case "
            f"{now.case} by their DICOM files; give the earlier one with --prior"
        )
    return ours, theirs


def align(now: Prediction, images: Mapping[str, Volume], earlier: Prediction) -> Aligned:
    """Find where points of the present scan lie in an earlier one, by an image that both have.

    No motion is kept if it is as good as the best one. Raises `BadData` if there is no image to
    align by, or if what comes out cannot be trusted, as of another patient.
    """
    name, fixed, moving = _common(now, images, earlier)
    still = _still(now, earlier, fixed, moving)
    if still and _one_frame(now, earlier, name) and still.likeness >= SURE:
        best = still
    else:
        best = register(fixed, moving)
        if still and not still.poor and still.likeness >= best.likeness - SAME:
            best = still
    _trusted(now, earlier, best)
    how = best.said
    if best is still:
        how = f"None was needed: fine structure agrees with a correlation of {best.likeness:.2f}."
    residual = max(best.residual_mm, _halfway(fixed, moving))
    return Aligned(best.matrix, best, residual, f"By {name}. {how}")


def _still(
    now: Prediction, earlier: Prediction, fixed: Volume, moving: Volume
) -> Registration | None:
    """How good it is to leave the earlier scan where it is; None if both lie apart."""
    found = assess(fixed, moving, np.eye(4))
    return found if found.covered > 0.5 else None


def _one_frame(now: Prediction, earlier: Prediction, name: str) -> bool:
    """Whether DICOM says that both have one frame of reference, or they share a grid."""
    ours, theirs = (
        str(one.inputs.get(name, {}).get("frame_of_reference", "")) for one in (now, earlier)
    )
    return ours == theirs if ours and theirs else now.grid.same_as(earlier.grid)


def _common(
    now: Prediction, images: Mapping[str, Volume], earlier: Prediction
) -> tuple[str, Volume, Volume]:
    """An image of both: its name, and it at both times; that on the results' own grid first."""
    ours = [name for name in now.used if name in images and name in earlier.images]
    ours.sort(key=lambda name: not images[name].grid.same_as(now.grid))
    causes = []
    for name in ours:
        try:
            moving = read_volume(earlier.images[name], earlier.channels.get(name))
            return name, images[name], moving
        except (OncosegError, OSError) as error:
            causes.append(f"{name} of {earlier.case} cannot be read ({_bare(error)})")
    if not causes:
        here, there = (", ".join(one) or "none" for one in (images, earlier.images))
        causes = [f"{now.case} has {here} and {earlier.case} {there}, of which none is of both"]
    raise BadData(f"case {now.case} cannot be aligned with a prior: {'; '.join(causes)}; {REMEDY}")


def _bare(error: Exception) -> str:
    return getattr(error, "cause", "") or type(error).__name__


def _trusted(now: Prediction, earlier: Prediction, found: Registration) -> None:
    """Raises `BadData` for an alignment by which nothing should be compared."""
    cause = found.poor
    if not cause and found.likeness < ALIKE:
        cause = (
            f"after alignment their fine structure agrees with a median local correlation of "
            f"{found.likeness:.2f}, below {ALIKE}, as that of two patients does"
        )
    if cause:
        raise BadData(
            f"case {now.case} and prior {earlier.case} could not be aligned: {cause}; {REMEDY}"
        )


def _halfway(fixed: Volume, moving: Volume) -> float:
    """Half the diagonal of the larger voxels: no place is known better."""
    return max(math.hypot(*one.grid.spacing) / 2 for one in (fixed, moving))
