"""DICOM as a hospital hands it over: series, RTSTRUCT and SEG, sorted by what their headers say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from oncoseg.blocks import studies
from oncoseg.blocks.drawings import Drawing, fold, plain_names
from oncoseg.blocks.studies import Scan
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "DICOM PS3.3: Information Object Definitions",
    1993,
    url="https://dicom.nema.org/medical/dicom/current/output/html/part03.html",
)


class Dicom(Dataset):
    """Any tree of DICOM files; a case is a patient, a modality is a series.

    Folders name case and modality where they can (`STS_002/CT/image`); else the modality is told by
    the header and the case is a digest of PatientID, so that no identity is shown. Localisers and
    objects that are no images are left out. An RTSTRUCT or SEG is the label map of the series that
    it refers to; its structures' names become labels, numbered from 1 in the order of names.
    """

    def __init__(self) -> None:
        self.names: dict[Path, list[str]] = {}

    def matches(self, folder: Path) -> bool:
        """Whether any folder in the tree holds a DICOM file."""
        return studies.holds_dicom(folder)

    def find(self, folder: Path) -> list[Source]:
        """A case each patient.

        Raises `BadData` on two series of one modality in a case, two label maps of one series, and
        a label map whose series is not there.
        """
        scans, drawings = studies.scans_in(folder)
        cases = studies.case_names(folder, scans)
        images: dict[str, dict[str, Path]] = defaultdict(dict)
        labels: dict[str, dict[str, Path]] = defaultdict(dict)
        names: dict[str, str] = {}
        for scan in scans:
            case, modality = cases[scan.series.patient], studies.modality(folder, scan)
            what = f"{modality} of case {case}"
            _put(images[case], modality, scan.path, what, "put each in a folder of its modality")
        for one in drawings:
            scan = _scan(one, scans)
            case, modality = cases[scan.series.patient], studies.modality(folder, scan)
            what = f"label map on the {modality} of case {case}"
            _put(labels[case], modality, one.path, what, "move the other away")
            for name in plain_names(one.names, scan.series.modality).values():
                names.setdefault(fold(name), name)
        self.names[folder] = sorted(names.values())
        return [Source(case, case, files, labels[case]) for case, files in sorted(images.items())]

    def describe(self, folder: Path) -> dict[str, Any]:
        """The names of structures in all RTSTRUCT and SEG, as labels from 1 up."""
        if folder not in self.names:
            self.find(folder)
        names = self.names[folder]
        return {"labels": {name: value for value, name in enumerate(names, 1)}} if names else {}


def _scan(one: Drawing, scans: list[Scan]) -> Scan:
    """The series that a label map was drawn on."""
    found = [scan for scan in scans if one.on(scan.series)]
    if len(found) != 1:
        cause = f"was drawn on a series of which {len(found)} stacks are here, not one"
        raise BadData(f"{one.path}: {cause}; add the series, or remove this label map")
    return found[0]


def _put(files: dict[str, Path], name: str, path: Path, what: str, remedy: str) -> None:
    if (other := files.setdefault(name, path)) != path:
        raise BadData(f"{path}: is a second {what}, beside {other}; keep one, or {remedy}")
