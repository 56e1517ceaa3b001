"""A tree of DICOM files as cases: which series and drawings are there, and how people name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoseg.blocks import dicomdir, layouts
from oncoseg.blocks.drawings import KINDS, Drawing, drawings_in
from oncoseg.blocks.modalities import canonical, from_header, known
from oncoseg.blocks.series import Series, instances_in, sorted_into_series
from oncoseg.errors import BadFile

GENERIC = {"image", "images", "img", "dicom", "dcm", "series", "scan", "scans"}


@dataclass(frozen=True)
class Scan:
    """A series, and the path that stands for it: its folder, or a slice where others are there."""

    series: Series
    path: Path
    parts: tuple[str, ...]  # folders from the top down to it, without generic ones at the end


def folders(folder: Path) -> Iterator[Path]:
    """The folder and all in it; of one with a DICOMDIR, that alone."""
    yield folder
    if dicomdir.index_of(folder) is None:
        for inner in layouts.folders(folder):
            if not inner.is_symlink():
                yield from folders(inner)


def holds_dicom(folder: Path) -> bool:
    """Whether any folder in the tree holds a DICOM file, or a DICOMDIR."""
    return any(
        dicomdir.index_of(inner) or any(map(layouts.is_dicom, sorted(inner.iterdir())[:9]))
        for inner in folders(folder)
    )


def scans_in(folder: Path) -> tuple[list[Scan], list[Drawing]]:
    """Every series but localisers, and every drawing, in a tree of folders; raises `BadFile`."""
    scans: list[Scan] = []
    drawings: list[Drawing] = []
    for inner in folders(folder):
        instances = instances_in(inner)
        here = sorted_into_series(instances)
        _check_patients(inner, here)
        indexed = dicomdir.index_of(inner) is not None
        for one in here:
            if not one.localizer:
                path = one.files[0] if len(here) > 1 else inner
                parts = () if indexed else _parts(folder, inner)
                scans.append(Scan(one, path, parts))
        drawings += drawings_in([one.path for one in instances if one.text("Modality") in KINDS])
    return scans, drawings


def _check_patients(folder: Path, here: Sequence[Series]) -> None:
    """No series is of two patients: someone's slices would be taken for another's."""
    owners: dict[str, str] = {}
    for one in here:
        if one.uid and owners.setdefault(one.uid, one.patient) != one.patient:
            cause = "holds a series with slices of 2 patients"
            raise BadFile(folder, cause, "put the slices of each in a folder of their own")


def _parts(folder: Path, inner: Path) -> tuple[str, ...]:
    parts = list(inner.relative_to(folder).parts)
    while parts and parts[-1].lower() in GENERIC:
        parts.pop()
    return tuple(parts)


def modality(folder: Path, scan: Scan) -> str:
    """By the name of its folder where that is known, else by its header."""
    named = [folder.resolve().name, *scan.parts][-1]
    if known(named):
        return canonical(named)
    return from_header(scan.series.modality, scan.series.description)


def case_names(folder: Path, scans: Sequence[Scan]) -> dict[str, str]:
    """Patient -> case: the folder's name where each patient has one folder, else the digest."""
    tops: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        tops[scan.series.patient].add((scan.parts or ("",))[0])
    if len(tops) == 1:
        patient, names = next(iter(tops.items()))
        name = next(iter(names)) if len(names) == 1 else ""
        return {patient: folder.resolve().name if not name or known(name) else name}
    firsts = [next(iter(names)) for names in tops.values() if len(names) == 1]
    if "" in firsts or len(set(firsts)) < len(tops):
        return {patient: patient for patient in tops}
    return {patient: next(iter(names)) for patient, names in tops.items()}
