"""BraTS: a folder a case, holding its four MR sequences and their tumour map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.blocks import layouts
from oncoseg.blocks.modalities import canonical
from oncoseg.case import Source
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "The RSNA-ASNR-MICCAI BraTS 2021 Benchmark on Brain Tumor Segmentation and Radiogenomic "
    "Classification",
    2021,
    arxiv="2107.02314",
)
SEQUENCES = ("t1", "t1ce", "t2", "flair")


class Brats(Dataset):
    """`<case>/<case>_t1ce.nii.gz` (to 2021) or `<case>/<case>-t1c.nii.gz` (from 2023), and seg.

    The enhancing tumour is 4 up to 2021 and 3 from 2023 on; the way of naming tells which. The
    folder may also be that of one case.
    """

    def matches(self, folder: Path) -> bool:
        """Whether every folder with scans holds them under its own name, of known sequences."""
        cases = _cases(folder)
        return bool(cases) and all(_is_case(case) for case in cases)

    def find(self, folder: Path) -> list[Source]:
        """A case each folder; sequences that are absent are left out."""
        return [
            layouts.assembled(case.name, {p: _name(case, p) for p in layouts.scans(case)})
            for case in _cases(folder)
        ]

    def describe(self, folder: Path) -> dict[str, Any]:
        """The labels and the nested regions of the challenge."""
        new = any(
            layouts.stem(path).endswith(("-t1n", "-t1c", "-t2w", "-t2f"))
            for case in _cases(folder)
            for path in layouts.scans(case)
        )
        return {
            "name": folder.resolve().name,
            "modalities": list(SEQUENCES),
            "labels": {"NCR": 1, "ED": 2, "ET": 3 if new else 4},
            "regions": {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
        }


def _cases(folder: Path) -> list[Path]:
    if layouts.scans(folder):
        return [folder.resolve()]
    return [inner for inner in layouts.folders(folder) if layouts.scans(inner)]


def _name(case: Path, path: Path) -> layouts.Name:
    ending = layouts.stem(path).removeprefix(case.name)[1:]
    label = ending == "seg"
    return layouts.Name(case.name, "" if label else canonical(ending), label, stated=True)


def _is_case(case: Path) -> bool:
    names = [layouts.stem(path) for path in layouts.scans(case)]
    endings = {name[len(case.name) + 1 :] for name in names}
    sequences = {canonical(ending) for ending in endings - {"seg"}}
    return (
        all(name.startswith((f"{case.name}_", f"{case.name}-")) for name in names)
        and bool(sequences)
        and sequences <= set(SEQUENCES)
    )
