"""Medical Segmentation Decathlon: dataset.json, 4-D images whose last axis it names, label maps."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from oncoseg import files
from oncoseg.blocks import layouts
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card("The Medical Segmentation Decathlon", 2022, doi="10.1038/s41467-022-30695-9")


class Msd(Dataset):
    """`TaskXX_Name` with imagesTr, labelsTr and dataset.json; `imagesTs` may be given by itself.

    Each image is one file; where it is 4-D, its channels are the modalities of dataset.json in the
    order of their numbers.
    """

    def matches(self, folder: Path) -> bool:
        """Whether dataset.json names modalities and the images are one file each."""
        place = _place(folder)
        if place is None or not layouts.scans(_images(folder)):
            return False
        said = files.read_json(place)
        return isinstance(said, dict) and "modality" in said

    def find(self, folder: Path) -> list[Source]:
        """A case each image; raises `BadData` on a listed file that is missing."""
        names = self.describe(folder)["modalities"]
        images = layouts.by_stem(layouts.scans(_images(folder)))
        labels = layouts.by_stem(layouts.scans(folder / "labelsTr"))
        for path in _listed(folder):
            if not path.is_file():
                raise BadData(f"{path}: is listed in dataset.json, but missing; add it")
        for case in labels.keys() - images.keys():
            raise BadData(f"{labels[case]}: has no image in imagesTr; add it or remove the label")
        return [
            Source(
                case,
                layouts.patient_of(case),
                dict.fromkeys(names, path),
                {names[0]: labels[case]} if case in labels else {},
            )
            for case, path in sorted(images.items())
        ]

    def describe(self, folder: Path) -> dict[str, Any]:
        """Name, modalities in the order of their numbers, and labels, as dataset.json has them."""
        place = _place(folder)
        said = files.read_json(place) if place else {}
        named = sorted(said.get("modality", {}).items(), key=lambda item: int(item[0]))
        if not named:
            raise BadData(f"{folder}: dataset.json names no modality; add them")
        return {
            "name": str(said.get("name") or folder.resolve().name),
            "modalities": [str(name) for _, name in named],
            **layouts.scheme(folder / "dataset.json", said.get("labels", {})),
        }


def _place(folder: Path) -> Path | None:
    places = (folder / "dataset.json", folder.resolve().parent / "dataset.json")
    return next((place for place in places if place.is_file()), None)


def _images(folder: Path) -> Path:
    return folder / "imagesTr" if (folder / "imagesTr").is_dir() else folder


def _listed(folder: Path) -> list[Path]:
    """Files of the `training` list, which some write as `./imagesTr/x`, some with `._x` in it."""
    if not (folder / "dataset.json").is_file():
        return []
    pairs = files.read_json(folder / "dataset.json").get("training", [])
    names = [name for pair in pairs for name in pair.values()]
    paths = [folder.joinpath(*PurePosixPath(name).parts) for name in names]
    return [path for path in paths if not layouts.hidden(path)]
