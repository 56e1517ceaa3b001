"""DICOM files sorted into series: one grid, one patient, one acquisition each.

Grouped by SeriesInstanceUID and by orientation, size, spacing and frame of reference, since one
series may hold a localiser, or two stacks, beside the scan.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks.layouts import hidden, is_dicom
from oncoseg.errors import BadFile
from oncoseg.extras import require

IMAGES = {"CT", "MR", "PT", "NM"}
HEAD = [
    "Modality",
    "PatientID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "ImageType",
]


@dataclass(frozen=True)
class Series:
    """Files that belong together; `patient` is a short digest of PatientID, never the ID itself."""

    modality: str
    description: str
    patient: str
    localizer: bool
    key: tuple[Any, ...]
    files: tuple[Path, ...]


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files right in a folder."""
    return sorted(path for path in folder.iterdir() if not hidden(path) and is_dicom(path))


def header(path: Path, *, tags: list[str] | None = None) -> Any:
    """What a file says before its pixels; all of the file where `tags` is left out."""
    pydicom = require("pydicom", "dicom")
    try:
        only = {} if tags is None else {"stop_before_pixels": True, "specific_tags": tags}
        head = pydicom.dcmread(path, **only)
        list(head)  # values are only understood when they are looked at
    except (
        pydicom.errors.InvalidDicomError,
        pydicom.errors.BytesLengthException,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        AttributeError,
    ) as error:
        cause = f"is no DICOM file that can be read ({' '.join(str(error).split())})"
        raise BadFile(path, cause, "export it again") from error
    return head


def series_in(folder: Path) -> list[Series]:
    """Every series of images right in a folder; structures, reports and other objects are none."""
    groups: dict[tuple[Any, ...], list[tuple[Path, Any]]] = defaultdict(list)
    for path in dicom_files(folder):
        head = header(path, tags=HEAD)
        try:
            if str(head.get("Modality", "")) in IMAGES and head.get("Rows"):
                groups[_key(head)].append((path, head))
        except (ValueError, TypeError) as error:
            raise BadFile(path, "has a header that makes no sense", "export it again") from error
    return [_series(key, members) for key, members in groups.items()]


def _series(key: tuple[Any, ...], members: list[tuple[Path, Any]]) -> Series:
    head = members[0][1]
    return Series(
        modality=str(head.Modality),
        description=str(head.get("SeriesDescription", "")),
        patient=digest(str(head.get("PatientID", ""))),
        localizer="LOCALIZER" in [str(word).upper() for word in head.get("ImageType") or ()],
        key=key,
        files=tuple(path for path, _ in members),
    )


def digest(identity: str) -> str:
    """A short name that does not tell the identity."""
    return "p" + hashlib.sha256(identity.encode()).hexdigest()[:10]


def _key(head: Any) -> tuple[Any, ...]:
    return (
        str(head.get("SeriesInstanceUID", "")),
        _rounded(head.get("ImageOrientationPatient"), 4),
        (int(head.Rows), int(head.get("Columns") or 0)),
        _rounded(head.get("PixelSpacing"), 5),
        str(head.get("FrameOfReferenceUID", "")),
        digest(str(head.get("PatientID", ""))),
    )


def _rounded(values: Any, digits: int) -> tuple[float, ...]:
    numbers = np.round([float(value) for value in values or ()], digits)
    return tuple(float(number) + 0.0 for number in numbers)


def differences(series: list[Series]) -> str:
    """What tells several series apart, in words."""
    names = (
        "series",
        "orientations",
        "sizes",
        "spacings",
        "frames of reference",
        "patients",
    )
    counts = [len(set(column)) for column in zip(*(one.key for one in series))]
    return ", ".join(f"{count} {name}" for count, name in zip(counts, names) if count > 1)
