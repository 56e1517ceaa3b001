"""DICOM as a hospital hands it over: folders of series, sorted by what their headers say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from oncoseg.blocks import layouts
from oncoseg.blocks.modalities import canonical, from_header, known
from oncoseg.blocks.series import Series, series_in
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "DICOM PS3.3: Information Object Definitions",
    1993,
    url="https://dicom.nema.org/medical/dicom/current/output/html/part03.html",
)
GENERIC = {"image", "images", "img", "dicom", "dcm", "series", "scan", "scans"}


class Dicom(Dataset):
    """Any tree of DICOM files; a case is a patient, a modality is a series.

    Folders name case and modality where they can (`STS_002/CT/image`); else the modality is told by
    the header and the case is a digest of PatientID, so that no identity is shown. Localisers and
    objects that are no images are left out. Label maps (RTSTRUCT, SEG) are not read.
    """

    def matches(self, folder: Path) -> bool:
        """Whether any folder in the tree holds a DICOM file."""
        return any(
            layouts.is_dicom(path)
            for inner in _tree(folder)
            for path in sorted(inner.iterdir())[:9]
        )

    def find(self, folder: Path) -> list[Source]:
        """A case each patient; raises `BadData` on two series of one modality in a case."""
        scans = []
        for inner in _tree(folder):
            here = series_in(inner)
            scans += [
                (one, one.files[0] if len(here) > 1 else inner) for one in here if not one.localizer
            ]
        names = _names(folder, scans)
        images: dict[str, dict[str, Path]] = defaultdict(dict)
        for one, path in scans:
            case, modality = names[one.patient], _modality(folder, one)
            if (other := images[case].setdefault(modality, path)) != path:
                raise BadData(
                    f"{path}: is a second {modality} of case {case}, beside {other}; "
                    "keep one, or put each in a folder named by its modality"
                )
        return [Source(case, case, files) for case, files in sorted(images.items())]


def _tree(folder: Path) -> list[Path]:
    inner = (path for path in folder.rglob("*") if path.is_dir() and not layouts.hidden(path))
    return [folder, *sorted(inner)]


def _parts(folder: Path, one: Series) -> list[str]:
    """The folders from `folder` to a series, without generic ones at the end."""
    parts = list(one.files[0].parent.relative_to(folder).parts)
    while parts and parts[-1].lower() in GENERIC:
        parts.pop()
    return parts


def _modality(folder: Path, one: Series) -> str:
    named = [folder.resolve().name, *_parts(folder, one)][-1]
    return canonical(named) if known(named) else from_header(one.modality, one.description)


def _names(folder: Path, scans: list[tuple[Series, Path]]) -> dict[str, str]:
    """Patient -> case: the folder's name where each patient has one folder, else the digest."""
    tops: dict[str, set[str]] = defaultdict(set)
    for one, _ in scans:
        tops[one.patient].add((_parts(folder, one) or [""])[0])
    if len(tops) == 1:
        patient, names = next(iter(tops.items()))
        name = next(iter(names)) if len(names) == 1 else ""
        return {patient: folder.resolve().name if not name or known(name) else name}
    firsts = [next(iter(names)) for names in tops.values() if len(names) == 1]
    if "" in firsts or len(set(firsts)) < len(tops):
        return {patient: patient for patient in tops}
    return {patient: next(iter(names)) for patient, names in tops.items()}
