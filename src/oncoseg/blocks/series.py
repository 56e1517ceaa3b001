"""DICOM files sorted into series: one grid, one patient, one acquisition each.

Grouped by SeriesInstanceUID and by orientation, size, spacing and frame of reference, since one
series may hold a localiser, or two stacks, beside the scan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks import dicomdir
from oncoseg.blocks.instances import Instance, digest, instance, understood
from oncoseg.blocks.layouts import hidden, is_dicom
from oncoseg.errors import BadFile

IMAGES = {"CT", "MR", "PT", "NM"}
CLOSE = (2e-4, 1e-4)  # how far direction cosines and spacings (mm) of one stack may differ
KEYS = ("series", "frames of reference", "patients", "sizes", "orientations", "spacings")


@dataclass(frozen=True)
class Series:
    """Files that belong together; `patient` is a short digest of PatientID, never the ID itself."""

    modality: str
    description: str
    patient: str
    localizer: bool
    key: tuple[Any, ...]
    instances: tuple[Instance, ...]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Where its slices lie."""
        return tuple(one.path for one in self.instances)

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.key[0])

    @property
    def frame(self) -> str:
        """FrameOfReferenceUID."""
        return str(self.key[1])


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files right in a folder; those that its DICOMDIR names, where it has one."""
    index = dicomdir.index_of(folder)
    if index:
        return dicomdir.listed(index)
    return sorted(path for path in folder.iterdir() if not hidden(path) and is_dicom(path))


def instances_in(folder: Path) -> list[Instance]:
    """The headers of all DICOM files right in a folder."""
    return [instance(path) for path in dicom_files(folder)]


def series_in(folder: Path) -> list[Series]:
    """Every series of images right in a folder; structures, reports and other objects are none.

    A series of which a DICOMDIR above names files elsewhere too is taken with those.
    """
    found = sorted_into_series(instances_in(folder))
    index = dicomdir.above(folder) if found else None
    if index is None or index.parent.resolve() == folder.resolve():
        return found
    here = {path.resolve() for one in found for path in one.files}
    named = dicomdir.listed(index, {one.uid for one in found})
    others = [path for path in named if path.resolve() not in here]
    if not others:
        return found
    members = [one for group in found for one in group.instances]
    return sorted_into_series([*members, *map(instance, others)])


def sorted_into_series(instances: Sequence[Instance]) -> list[Series]:
    """Instances -> series, in the order in which they first appear.

    Raises `BadFile` where a file of an image's series is no image: a slice must not go unseen.
    """
    groups: dict[tuple[Any, ...], list[tuple[Any, list[Instance]]]] = defaultdict(list)
    others = []
    for one in instances:
        with understood(one.path):
            if one.text("Modality") not in IMAGES or not one.head.get("Rows"):
                others.append(one)
            else:
                _join(groups[_identity(one)], _stack(one), one)
    uids = {str(identity[0]) for identity in groups}
    for one in others:
        if not one.text("SeriesInstanceUID"):
            cause = "names no series (SeriesInstanceUID), as a file that was cut in its header"
            raise BadFile(one.path, cause, "remove it, or export it again")
        if one.text("SeriesInstanceUID") in uids:
            cause = f"is of a series of images, but no image (Modality '{one.text('Modality')}')"
            raise BadFile(one.path, cause, "remove it, or export it again")
    return [
        _series((*identity, *stack), members)
        for identity, stacks in groups.items()
        for stack, members in stacks
    ]


def _join(stacks: list[tuple[Any, list[Instance]]], stack: Any, one: Instance) -> None:
    """Into the stack whose orientation and spacing are the same but for rounding."""
    for other, members in stacks:
        if all(
            len(a) == len(b) and np.allclose(a, b, rtol=0, atol=close)
            for a, b, close in zip(stack, other, CLOSE)
        ):
            members.append(one)
            return
    stacks.append((stack, [one]))


def _identity(one: Instance) -> tuple[Any, ...]:
    size = (int(one.head.Rows), int(one.head.get("Columns") or 0))
    frame = one.text("FrameOfReferenceUID")
    return one.text("SeriesInstanceUID"), frame, digest(str(one.head.get("PatientID", ""))), size


def _stack(one: Instance) -> tuple[tuple[float, ...], tuple[float, ...]]:
    turn = one.head.get("ImageOrientationPatient") or ()
    spacing = one.head.get("PixelSpacing") or ()
    return tuple(float(number) for number in turn), tuple(float(number) for number in spacing)


def _series(key: tuple[Any, ...], members: list[Instance]) -> Series:
    kept, twice = _once(members)
    many = f"{twice} of its files were there twice; each was read once"
    return Series(
        modality=members[0].text("Modality"),
        description=members[0].text("SeriesDescription"),
        patient=key[2],
        localizer=_is_localizer(members[0]),
        key=key,
        instances=tuple(kept),
        notes=(many,) if twice else (),
    )


def _is_localizer(one: Instance) -> bool:
    with understood(one.path):
        return "LOCALIZER" in [str(word).upper() for word in one.head.get("ImageType") or ()]


def _once(members: list[Instance]) -> tuple[list[Instance], int]:
    """Each SOPInstanceUID once, and how many copies there were.

    Raises `BadFile` where files of one UID are not the same to the byte.
    """
    seen: dict[str, Instance] = {}
    kept = []
    for one in members:
        uid = one.text("SOPInstanceUID")
        first = seen.setdefault(uid, one) if uid else one
        if first is one:
            kept.append(one)
        elif first.path.read_bytes() != one.path.read_bytes():
            cause = f"has the SOPInstanceUID of {first.path.name}, but other contents"
            raise BadFile(one.path, cause, "keep the right one of the two")
    return kept, len(members) - len(kept)


def differences(series: Sequence[Series]) -> str:
    """What tells several series apart, in words."""
    counts = [len(set(column)) for column in zip(*(one.key for one in series))]
    return ", ".join(f"{count} {name}" for count, name in zip(counts, KEYS) if count > 1)
