"""Images in one folder and label maps of the same names in another, or images alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oncoseg.blocks import layouts
from oncoseg.case import Source
from oncoseg.errors import BadData
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "oncoseg: paired folders",
    2026,
    reading="Our reading of a habit, not of a standard: images/NAME.ext with labels/NAME.ext.",
)
INSTANCES = "instances"
IMAGES = ("images", "image", "imgs")
LABELS = ("labels", "label", "masks", "mask", "annotations", "segmentations", INSTANCES)


class Pairs(Dataset):
    """`images/NAME.nii.gz` with `labels/NAME.nii.gz`; pictures with `masks/NAME.png` just so.

    In a folder named `instances` each value is one more of the same, as nuclei are numbered. Also a
    bare folder of scans whose names say nothing but the case. The modality is `image`;
    colour pictures are `red`, `green` and `blue`.
    """

    def matches(self, folder: Path) -> bool:
        """Whether it holds `images`, or scans of which no name says a modality or a label."""
        here = layouts.scans(folder)
        names = [layouts.parse(layouts.stem(path)) for path in here]
        images = _named(folder, IMAGES)
        return bool(images and layouts.scans(images)) or (
            bool(here) and not any(said.stated for said in names) and not layouts.folders(folder)
        )

    def find(self, folder: Path) -> list[Source]:
        """A case each image; raises `BadData` on a label map without an image."""
        images = layouts.by_stem(layouts.scans(_named(folder, IMAGES) or folder))
        beside = _named(folder, LABELS)
        labels = layouts.by_stem(layouts.scans(beside)) if beside else {}
        labels = {_case(name, images): path for name, path in labels.items()}
        for name in labels.keys() - images.keys():
            raise BadData(f"{labels[name]}: has no image of the same name; add or rename it")
        counted = beside is not None and beside.name.lower() == INSTANCES
        return [
            replace(_source(name, path, labels.get(name)), instances=counted)
            for name, path in images.items()
        ]


def _source(name: str, image: Path, label: Path | None) -> Source:
    images = layouts.channels(image)
    labels = {next(iter(images)): label} if label else {}
    return Source(name, layouts.patient_of(name), images, labels)


def _case(name: str, images: dict[str, Path]) -> str:
    """`x_mask` belongs to the image `x`."""
    said = layouts.parse(name)
    return said.prefix if name not in images and said.label and not said.modality else name


def _named(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The one inner folder of such a name; raises `BadData` on two."""
    found = [inner for inner in layouts.folders(folder) if inner.name.lower() in names]
    if len(found) > 1:
        both = " and ".join(inner.name for inner in found)
        raise BadData(f"{folder}: has both {both}; keep one of them")
    return found[0] if found else None
