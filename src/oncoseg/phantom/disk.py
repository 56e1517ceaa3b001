"""Synthetic cases as files, in layouts that people use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oncoseg.case import Case, Volume
from oncoseg.errors import UnknownName, unknown
from oncoseg.write import write_volume

LAYOUTS = {
    "brats": ("{case}_{modality}", "{case}_seg"),
    "folders": ("{modality}_image", "{modality}_mask"),
}


def write(case: Case, folder: Path, *, layout: str = "brats") -> Path:
    """Write a case into `folder/<case>/` and return that folder.

    `brats`: `<case>_<modality>.nii.gz` and `<case>_seg.nii.gz`; `folders`:
    `<modality>_image.nii.gz` and `<modality>_mask.nii.gz`. 2-D images of 0..255 are PNG. No layout
    can say which labels were looked for, so `annotated` is not written. Raises `UnknownName` for
    another layout.
    """
    if layout not in LAYOUTS:
        error: UnknownName = unknown("layout", layout, LAYOUTS)
        raise error
    image, mask = LAYOUTS[layout]
    to = Path(folder) / case.id
    for name, volumes in ((image, case.images), (mask, case.labels)):
        for modality, volume in volumes.items():
            stem = name.format(case=case.id, modality=modality)
            write_volume(to / f"{stem}{_ending(volume)}", volume.array, volume.grid)
    return to


def _ending(volume: Volume) -> str:
    return ".png" if volume.grid.dims == 2 and volume.array.dtype == np.uint8 else ".nii.gz"
