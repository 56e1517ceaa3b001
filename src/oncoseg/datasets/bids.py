"""BIDS: `sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz`, and label maps among the derivatives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.blocks import layouts
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "The brain imaging data structure, a format for organizing and describing outputs of "
    "neuroimaging experiments",
    2016,
    doi="10.1038/sdata.2016.44",
    reading="It leaves open whether a lesion is a mask, a dseg or a roi; all three are taken.",
)
SUFFIXES = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair", "PDw": "pd", "pet": "pet", "ct": "ct"}


class Bids(Dataset):
    """A case is a session, or a subject without; `ce-` makes T1w `t1ce`, `space-` names an image.

    Label maps are `_dseg`, and `_mask` or `_roi` with `label-`, unless they lie in a template's
    space or oncoseg made them. Two runs of one kind are refused, never chosen from.
    """

    def matches(self, folder: Path) -> bool:
        """Whether dataset_description.json says so and there is a subject."""
        return "BIDSVersion" in _said(folder) and any(folder.glob("sub-*/"))

    def find(self, folder: Path) -> list[Source]:
        """A case each session; the site is that of participants.tsv."""
        rows = layouts.table(folder / "participants.tsv")
        sites = {row.get("participant_id"): row.get("site") or "" for row in rows}
        cases: dict[str, dict[Path, layouts.Name]] = {}
        for root in (folder, *_derivatives(folder)):
            inner = {path for depth in ("sub-*/*", "sub-*/ses-*/*") for path in root.glob(depth)}
            for path in (scan for place in sorted(inner) for scan in layouts.scans(place)):
                name = _name(path, derived=root != folder)
                if name.modality or name.label:
                    cases.setdefault(name.prefix, {})[path] = name
        found = [layouts.assembled(case, paths) for case, paths in sorted(cases.items())]
        return [replace(source, site=sites.get(source.patient, "")) for source in found]

    def describe(self, folder: Path) -> dict[str, Any]:
        """Its name, and labels as its dseg.tsv lists them; raises `BadData` where two disagree."""
        found = {
            path: {row["name"]: row["index"] for row in layouts.table(path, "index", "name")}
            for root in (folder, *_derivatives(folder))
            for path in sorted(root.rglob("*dseg.tsv"))
        }
        said = {"name": str(_said(folder).get("Name") or folder.resolve().name)}
        if not found:
            return said
        first, *others = found
        if other := next((path for path in others if found[path] != found[first]), None):
            raise BadData(f"{other}: names other labels than {first.name}; keep one of the two")
        return {**said, **layouts.scheme(first, found[first])}


def _said(folder: Path) -> dict[str, Any]:
    path = folder / "dataset_description.json"
    said = files.read_json(path) if path.is_file() else {}
    return said if isinstance(said, dict) else {}


def _derivatives(folder: Path) -> list[Path]:
    """Those that something else than oncoseg made: a prediction is never taken for the truth."""
    every = layouts.folders(folder / "derivatives") if (folder / "derivatives").is_dir() else []
    return [root for root in every if "oncoseg" not in str(_said(root).get("GeneratedBy"))]


def _name(path: Path, *, derived: bool) -> layouts.Name:
    """What a file is, by its entities; neither modality nor label for what is passed over."""
    *pieces, suffix = layouts.stem(path).split("_")
    said = dict(piece.split("-", 1) for piece in pieces if "-" in piece)
    case = "_".join(f"{key}-{said[key]}" for key in ("sub", "ses") if key in said)
    space = said.get("space", "orig")
    native = space in ("orig", "individual", *SUFFIXES)
    label = native and (suffix == "dseg" or (suffix in ("mask", "roi") and "label" in said))
    modality = SUFFIXES.get(space if label else suffix, "") if label or not derived else ""
    contrast = "ce" in said and (modality == "t1" or (label and not modality))
    return layouts.Name(case, "t1ce" if contrast else modality, label, stated=True)
