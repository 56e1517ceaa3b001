"""The image of a modality from the file that a prediction was made from."""

from __future__ import annotations

from pathlib import Path

from oncoseg.blocks import layouts
from oncoseg.blocks.modalities import COLOURS
from oncoseg.case import Volume
from oncoseg.read import read_channels, read_volume


def read_modality(path: Path, name: str) -> Volume:
    """As `read_volume` gives it; of a colour picture the colour that is named."""
    if name in COLOURS and layouts.ending(path) in layouts.PICTURES:
        channels = read_channels(path)
        if len(channels) == len(COLOURS):
            return channels[COLOURS.index(name)]
    return read_volume(path)
