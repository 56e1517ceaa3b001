"""A folder a case: each modality a file, and a label map for all or one on each modality's grid."""

from __future__ import annotations

from pathlib import Path

from oncoseg.blocks import layouts
from oncoseg.blocks.layouts import Name
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "oncoseg: the plain layout",
    2026,
    reading="Our own convention: case/modality_image.ext with case/modality_mask.ext, or "
    "case/modality.ext with case/label.ext.",
)


class Folders(Dataset):
    """`case/CT_image.nii.gz` with `case/CT_mask.nii.gz`, or `case/t1.nii.gz` with `seg.nii.gz`.

    Each modality may lie on a grid of its own and may be absent. Names may start with the case's.
    The folder may also be that of one case, or hold all cases side by side as `<case>_t1.nii.gz`.
    """

    def matches(self, folder: Path) -> bool:
        """Whether it holds folders with scans, or scans whose names say what they are."""
        here = [layouts.parse(layouts.stem(path)) for path in layouts.scans(folder)]
        return any(said.stated for said in here) or any(
            layouts.scans(case) for case in layouts.folders(folder)
        )

    def find(self, folder: Path) -> list[Source]:
        """A case each folder with scans."""
        found = self._beside(folder)
        for case in layouts.folders(folder):
            files = {path: _within(case, path) for path in layouts.scans(case)}
            if files:
                found.append(layouts.assembled(case.name, files))
        return found

    def _beside(self, folder: Path) -> list[Source]:
        """Cases whose files lie right in the folder, told apart by what their names start with."""
        cases = layouts.grouped(folder)
        for path, said in ((p, said) for files in cases.values() for p, said in files.items()):
            if not said.stated:
                raise BadData(_unclear(path))
        name = folder.resolve().name
        if cases.keys() <= {"", name}:
            every = {path: said for files in cases.values() for path, said in files.items()}
            return [layouts.assembled(name, every)] if every else []
        if "" in cases:
            path = next(iter(cases[""]))
            raise BadData(f"{path}: names no case, as others beside it do; rename or move it")
        return [layouts.assembled(case, files) for case, files in cases.items()]


def _within(case: Path, path: Path) -> Name:
    """What a name says inside a case's folder, where `x_image` is modality x, known or not."""
    stem = layouts.stem(path)
    rest = stem[len(case.name) :].lstrip("_- ") if stem.startswith(case.name) else stem
    said = layouts.parse(rest or stem)
    if said.label or (said.stated and not said.prefix):
        modality = said.modality or said.prefix
        return Name(case.name, modality, said.label, stated=True)
    if said.stated or rest != stem:
        modality = said.prefix if said.modality in ("", "image") else rest
        return Name(case.name, modality, label=False, stated=True)
    raise BadData(_unclear(path))


def _unclear(path: Path) -> str:
    return (
        f"{path}: its name says neither a modality nor that it is a label map; "
        "rename it, for example t1.nii.gz, adc_image.nii.gz or label.nii.gz"
    )
