"""Key images: each lesion on the slice of its series where it was measured, as DICOM captures."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from oncoseg import files
from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.segments import Segment
from oncoseg.blocks.target_lesions import measure
from oncoseg.case import Prediction, Volume
from oncoseg.errors import BadData, BadFile
from oncoseg.report.pictures import Atlas
from oncoseg.report.plates import pictured
from oncoseg.report.slices import EDGES
from oncoseg.write import Pseudonyms, origin_of
from oncoseg.write.dicom import NOTICE, content, hashed
from oncoseg.write.pseudonyms import uid_of
from oncoseg.write.secondary_capture import capture
from oncoseg.write.source import silent

PIXELS = 768


WITHOUT = (
    "Without key images: they show slices of the DICOM series that was segmented, and none is "
    "there as it was."
)


def key_images(
    prediction: Prediction, images: Mapping[str, Volume], pseudonyms: Pseudonyms
) -> tuple[list[bytes], list[str]]:
    """The files of the lesions that a report pictures, and why there are none, if so.

    UIDs follow from the result, so that writing it again adds no copy to an archive.
    """
    chosen, _ = pictured(prediction)
    try:
        return (_drawn(prediction, images, chosen, pseudonyms) if chosen else []), []
    except (BadData, BadFile):  # their words name files, which may name patients
        return [], [WITHOUT]


def store(keys: Sequence[bytes] | None, to: Path, stem: str) -> list[Path]:
    """Write them as `<stem>.key-image-01.dcm` and so on; of an earlier report none is left.

    None: they were not asked for.
    """
    if keys is None:
        return []
    for path in to.glob(f"{glob.escape(stem)}.key-image-*.dcm"):
        path.unlink()
    return [
        files.write_bytes(to / f"{stem}.key-image-{number:02d}.dcm", one)
        for number, one in enumerate(keys, start=1)
    ]


def _drawn(
    prediction: Prediction,
    images: Mapping[str, Volume],
    chosen: Sequence[Segment],
    pseudonyms: Pseudonyms,
) -> list[bytes]:
    with silent():
        origin, _ = origin_of(prediction, pseudonyms)
        same = [key for key, one in origin.inputs.items() if one.series == origin.stack.series]
        name = next((key for key in same if key in images), "")
        atlas = Atlas(prediction, {name: images[name]} if name else {})
        axis, plane = slice_axis(prediction.grid)
        series = uid_of("key images", origin.stack.series, origin.made["sha256"])
        made = []
        for number, lesion in enumerate(chosen, start=1):
            size = measure(lesion, prediction.grid)
            least = "at least " if size.cut else ""
            told = (
                f"{lesion.name}: {least}{size.volume:.3g} ml, {size.long:.1f} x {size.short:.1f} mm"
            )
            head = origin.stack.slices[size.drawn["slice"]] if axis == 2 else None
            one = capture(
                origin,
                atlas.captured(name, plane, size.drawn, (told, f"oncoseg. {NOTICE}."), PIXELS),
                series=series,
                uid=uid_of("key image", series, lesion.name, hashed(lesion)),
                number=number,
                comment=told,
                orientation=(EDGES[plane][1], EDGES[plane][3]),
                slices=[head] if head is not None else [],
            )
            made.append(content(one))
        return made
