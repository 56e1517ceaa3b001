"""nnU-Net: `case_0000.nii.gz` a channel, whose names stand in dataset.json."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.blocks import layouts
from oncoseg.case import Source
from oncoseg.errors import BadData, BadFile
from oncoseg.parts import Dataset
from oncoseg.registry import Card

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
)
CHANNEL = re.compile(r"(.+)_(\d{4})")


class Nnunet(Dataset):
    """`DatasetXXX_Name` with imagesTr, labelsTr and dataset.json, of version 1 or 2.

    `imagesTs`, or another folder of channels beside dataset.json, may be given by itself. Channels
    are named by dataset.json, never by their numbers alone.
    """

    def matches(self, folder: Path) -> bool:
        """Whether every image is named by case and channel, and a channel is counted from 0000."""
        names = [CHANNEL.fullmatch(layouts.stem(path)) for path in layouts.scans(_images(folder))]
        return bool(names) and all(names) and any(n is not None and n[2] == "0000" for n in names)

    def find(self, folder: Path) -> list[Source]:
        """A case each name; raises `BadData` on a channel without a name."""
        said = _json(folder)
        channels = _channels(folder, said)
        ending = str(said.get("file_ending", ""))
        cases: dict[str, dict[str, Path]] = defaultdict(dict)
        scans = [p for p in layouts.scans(_images(folder)) if p.name.endswith(ending)]
        for name, path in layouts.by_stem(scans).items():
            case, _, number = name.rpartition("_")
            if int(number) not in channels:
                raise BadData(f"{path}: dataset.json names no channel {int(number)}; add its name")
            cases[case][channels[int(number)]] = path
        labels = layouts.by_stem(layouts.scans(folder / "labelsTr"))
        for name in labels.keys() - cases:
            raise BadData(f"{labels[name]}: has no image in imagesTr; add one")
        order = list(channels.values())
        return [
            _source(case, {name: images[name] for name in order if name in images}, labels)
            for case, images in sorted(cases.items())
        ]

    def describe(self, folder: Path) -> dict[str, Any]:
        """Channels, labels, regions and the ignored value, as dataset.json has them."""
        said = _json(folder)
        return {
            "name": str(said.get("name") or folder.resolve().name),
            "modalities": list(_channels(folder, said).values()),
            **layouts.scheme(folder / "dataset.json", said.get("labels", {})),
        }


def _source(case: str, images: dict[str, Path], labels: dict[str, Path]) -> Source:
    label = {next(iter(images)): labels[case]} if case in labels else {}
    return Source(case, layouts.patient_of(case), images, label)


def _images(folder: Path) -> Path:
    return folder / "imagesTr" if (folder / "imagesTr").is_dir() else folder


def _json(folder: Path) -> dict[str, Any]:
    for place in (folder, folder.resolve().parent):
        if (place / "dataset.json").is_file():
            return dict(files.read_json(place / "dataset.json"))
    remedy = "put it there, or name the files case_t1.nii.gz"
    raise BadFile(folder / "dataset.json", "is missing, so the channels have no names", remedy)


def _channels(folder: Path, said: dict[str, Any]) -> dict[int, str]:
    named = said.get("channel_names") or said.get("modality")
    if not named:
        raise BadData(f"{folder}: dataset.json has no channel_names; add them")
    return {int(number): str(name) for number, name in sorted(named.items())}
