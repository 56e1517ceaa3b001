"""The DICOM series a result belongs to: its place, and the few attributes that may be copied.

Nothing is copied but `IDENTITY` and `GEOMETRY`, so what is not listed cannot leak.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks.instances import instance, understood
from oncoseg.blocks.layouts import is_dicom
from oncoseg.blocks.series import Series, series_in
from oncoseg.case import Grid
from oncoseg.errors import BadData, BadFile
from oncoseg.extras import require
from oncoseg.write.pseudonyms import Pseudonyms

# What every object of a patient must carry (types 1 and 2), and StudyDescription.
IDENTITY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
OPTIONAL = ("IssuerOfPatientID", "StudyDescription")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
GEOMETRY = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("Rows", "Columns", "PixelSpacing", "SliceThickness"),
    *("ImagePositionPatient", "ImageOrientationPatient"),
)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
METHOD = "attributes by allow-list, names and UIDs by keyed pseudonyms"


@dataclass(frozen=True)
class Stack:
    """One series: a header a slice, in the order of the last axis of `grid` (RAS mm).

    Headers hold what may be copied and nothing else; `body` is BodyPartExamined.
    """

    path: Path
    files: tuple[Path, ...]
    slices: tuple[Any, ...]
    grid: Grid
    body: str = ""

    @property
    def series(self) -> str:
        """Its SeriesInstanceUID."""
        return str(self.slices[0].SeriesInstanceUID)

    @property
    def instances(self) -> list[str]:
        """The SOPInstanceUID of each slice."""
        return [str(head.SOPInstanceUID) for head in self.slices]

    def under(self, pseudonyms: Pseudonyms) -> Stack:
        """The same with names and UIDs replaced; dates, sex, numbers and texts are left empty."""
        if not pseudonyms:
            return self
        first = self.slices[0]
        identity = str(first.PatientID or first.PatientName or first.StudyInstanceUID)
        name = pseudonyms.name(f"patient {identity}")
        return replace(self, slices=tuple(_renamed(one, name, pseudonyms) for one in self.slices))


def stack(path: Path) -> Stack:
    """The series in a folder, or that of one of its slices, as the reader takes it.

    Raises `BadFile` if it holds several frames a file, or lacks what a result must refer to.
    """
    path = Path(path)
    found = _one(path, series_in(path if path.is_dir() else path.parent)).instances
    with understood(path), silent():
        heads = [one.head for one in found]
        for head in heads:
            _check(path, head)
        order, grid = _placed(heads)
        first = instance(found[order[0]].path, whole=True).head
        identity = _identity(path, first)
        step = float(np.linalg.norm(grid.affine[:3, 2]))
        slices = tuple(_bare(heads[index], identity, step) for index in order)
        paths = tuple(found[index].path for index in order)
        return Stack(path, paths, slices, grid, str(first.get("BodyPartExamined") or ""))


def _placed(heads: Sequence[Any]) -> tuple[list[int], Grid]:
    """The order of slices along their normal, and their grid in RAS mm."""
    first = heads[0]
    along, down = np.array(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    places = np.array([head.ImagePositionPatient for head in heads], dtype=float)
    order = np.argsort(places @ np.cross(along, down), kind="stable")
    places = places[order]
    step = np.cross(along, down) * float(first.get("SliceThickness") or 1)
    if len(heads) > 1:
        step = (places[-1] - places[0]) / (len(heads) - 1)
    rows, columns = (float(length) for length in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along * columns, down * rows, step], axis=1)
    affine[:3, 3] = places[0]
    shape = (int(first.Columns), int(first.Rows), len(heads))
    return [int(index) for index in order], Grid(shape, LPS_TO_RAS @ affine)


def stacks(images: Mapping[str, Path]) -> dict[str, Stack]:
    """The series among a case's images, by modality; none for images that are not DICOM."""
    return {
        name: stack(path)
        for name, path in images.items()
        if path.exists() and (path.is_dir() or is_dicom(path))
    }


def reference(case: str, found: Mapping[str, Stack], grid: Grid) -> Stack:
    """The series on whose grid a result lies; raises `BadData` if there is none."""
    for one in found.values():
        if one.grid.same_as(grid):
            return one
    cause = f"none of its images is a DICOM series that is still there ({', '.join(found)})"
    if found:
        cause = f"its result does not lie on the slices of its series ({', '.join(found)})"
    raise BadData(
        f"case {case}: SEG, RTSTRUCT and SR refer to the slices of a DICOM series, but "
        f"{cause.replace(' ()', '')}; give the series itself to 'oncoseg predict', or write bids"
    )


def _one(path: Path, found: Sequence[Series]) -> Series:
    scans = [one for one in found if (path in one.files or path.is_dir()) and one.files]
    scans = [one for one in scans if path in one.files or not one.localizer]
    if len(scans) != 1:
        raise BadFile(path, f"holds {len(scans)} series", "give a folder with one DICOM series")
    return scans[0]


def _check(path: Path, head: Any) -> None:
    if int(head.get("NumberOfFrames") or 1) > 1:
        cause = "holds several frames a file, to which no result can be linked yet"
        raise BadFile(path, cause, "write bids, or convert it to single frames")
    for name in (*UIDS, "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not head.get(name):
            raise BadFile(path, f"has no {name}, to which a result must refer", "export it again")


def _identity(path: Path, head: Any) -> dict[str, str]:
    """What is copied, as text; values that break their own type's rules are left empty."""
    values = {name: _valid(head, name) for name in IDENTITY}
    if head.get("PatientID") and not values["PatientID"]:
        cause = "has a PatientID that DICOM does not allow (over 64 letters, or control characters)"
        raise BadFile(path, cause, "correct it, so that results stay with their patient")
    if values["PatientSex"] not in ("M", "F", "O"):
        values["PatientSex"] = ""
    return {name: text for name, text in values.items() if text or name not in OPTIONAL}


def _valid(head: Any, name: str) -> str:
    pydicom = require("pydicom", "dicom")
    valuerep = require("pydicom.valuerep", "dicom")
    value = head.get(name)
    text = "" if value is None else str(value)
    several = isinstance(value, pydicom.multival.MultiValue)
    if several or not all(letter.isprintable() for letter in text):
        return ""
    try:
        kind = pydicom.datadict.dictionary_VR(name)
        valuerep.validate_value(kind, text, pydicom.config.RAISE)
    except ValueError:
        return ""
    return text


def _bare(head: Any, identity: Mapping[str, str], step: float) -> Any:
    pydicom = require("pydicom", "dicom")
    made = pydicom.Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for name in GEOMETRY:
        setattr(made, name, head.get(name))
    made.SliceThickness = head.get("SliceThickness") or _decimal(step)
    made.SpacingBetweenSlices = _decimal(step)
    for name, text in identity.items():
        setattr(made, name, text)
    return made


def _renamed(head: Any, name: str, pseudonyms: Pseudonyms) -> Any:
    made = deepcopy(head)  # a copied data set would share its elements
    for tag in IDENTITY:
        if tag in OPTIONAL and tag in made:
            delattr(made, tag)
        elif tag not in OPTIONAL:
            setattr(made, tag, "")
    made.PatientName = made.PatientID = name
    made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", METHOD
    for tag in UIDS:
        setattr(made, tag, pseudonyms.uid(str(head[tag].value)))
    return made


@contextmanager
def silent() -> Iterator[None]:
    """No warnings of the libraries: they print values, which may be a patient's name."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _decimal(value: float) -> str:
    """A number as DICOM writes it, at most 16 letters."""
    return f"{value:.10g}"


def text(words: str, length: int = 64) -> str:
    """Text that a tag can hold: no control character, no backslash, at most `length` letters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in words)
    return kept.replace("\\", "/").strip()[:length].strip()
