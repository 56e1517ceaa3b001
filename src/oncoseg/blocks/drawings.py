"""DICOM label maps before they are read: RTSTRUCT and SEG, what they name and what they lie on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.blocks import dicomdir
from oncoseg.blocks.instances import instance, shown, understood
from oncoseg.blocks.modalities import canonical, from_header, known
from oncoseg.blocks.series import Series, series_in
from oncoseg.errors import BadFile

KINDS = ("RTSTRUCT", "SEG")
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class Drawing:
    """An RTSTRUCT or a SEG: `names` by ROI or segment number, `series` the UIDs it refers to."""

    path: Path
    kind: str
    names: Mapping[int, str]
    series: tuple[str, ...]
    frame: str
    head: Any

    def on(self, series: Series) -> bool:
        """Whether it was drawn on that series."""
        return series.uid in self.series


def drawing(path: Path) -> Drawing | None:
    """What a DICOM file draws; None for one that is neither RTSTRUCT nor SEG."""
    kind = instance(path).text("Modality")
    if kind not in KINDS:
        return None
    head = instance(path, whole=True).head
    with understood(path):
        found = _of_rtstruct(head) if kind == "RTSTRUCT" else _of_seg(head)
        return Drawing(path, kind, *found, head)


def drawings_in(files: Sequence[Path]) -> list[Drawing]:
    """Those among some files that draw anything."""
    found = [drawing(path) for path in files]
    return [one for one in found if one is not None and one.names]


def _of_rtstruct(head: Any) -> tuple[dict[int, str], tuple[str, ...], str]:
    """Names of the structures that have closed contours."""
    closed = {
        int(one.ReferencedROINumber)
        for one in head.get("ROIContourSequence") or ()
        if any(_closed(contour) for contour in one.get("ContourSequence") or ())
    }
    names, frames = {}, set()
    for roi in head.get("StructureSetROISequence") or ():
        if int(roi.ROINumber) in closed:
            names[int(roi.ROINumber)] = shown(roi.get("ROIName", "")) or f"ROI {roi.ROINumber}"
            frames.add(str(roi.get("ReferencedFrameOfReferenceUID", "")))
    uids = dict.fromkeys(_uids(head))
    return names, tuple(uids), frames.pop() if len(frames) == 1 else ""


def _closed(contour: Any) -> bool:
    return str(contour.get("ContourGeometricType", "")) in CLOSED


def _uids(head: Any) -> Iterator[str]:
    for frame in head.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.SeriesInstanceUID)


def _of_seg(head: Any) -> tuple[dict[int, str], tuple[str, ...], str]:
    names = {
        int(one.SegmentNumber): shown(one.get("SegmentLabel", "")) or f"segment {one.SegmentNumber}"
        for one in head.get("SegmentSequence") or ()
        if int(one.SegmentNumber) > 0
    }
    uids = [str(one.SeriesInstanceUID) for one in head.get("ReferencedSeriesSequence") or ()]
    return names, tuple(dict.fromkeys(uids)), str(head.get("FrameOfReferenceUID", ""))


def plain_names(names: Mapping[int, str], modality: str) -> dict[int, str]:
    """Names without the modality of the series that they were drawn on.

    `GTV_CT` on the CT and `GTV_PET` on the PET mean one thing, GTV. A name stays whole where it
    would then be that of another.
    """
    short = {number: _without(name, modality) for number, name in names.items()}
    taken = [fold(name) for name in short.values()]
    return {
        number: short[number] if taken.count(fold(short[number])) == 1 else name
        for number, name in names.items()
    }


def _without(name: str, modality: str) -> str:
    own = from_header(modality, "")
    for sign in ("_", " ", "-"):
        words = name.split(sign)
        for count in (2, 1):
            end = "_".join(words[-count:])
            said = canonical(end) if known(end) else ""
            if len(words) > count and (said == own or said.startswith(f"{own}_")):
                return sign.join(words[:-count]).strip("_- ") or name
    return name


def fold(name: str) -> str:
    """Names that differ in letters of either case, or in gaps, are one name."""
    return " ".join(name.casefold().replace("_", " ").split())


def beside(one: Drawing) -> Series:
    """The series on which a drawing was made, in its own folder or in one next to it.

    Raises `BadFile` if it is not there.
    """
    found = [series for series in series_in(one.path.parent) if one.on(series)]
    if not found:
        found = [s for folder in _around(one.path.parent) for s in series_in(folder) if one.on(s)]
    if len(found) > 1:
        cause = f"was drawn on a series of which {len(found)} stacks are beside it"
        raise BadFile(one.path, cause, "give the one it lies on as its image")
    if found:
        return found[0]
    cause = "was drawn on a series that is not beside it"
    raise BadFile(one.path, cause, "put the series in a folder beside it")


def _around(folder: Path) -> Iterator[Path]:
    """A medium's folder, or the folders in this one, that around it, and those beside it."""
    index = dicomdir.above(folder)
    if index:
        yield index.parent
        return
    for place in (folder, folder.resolve().parent):
        inner = sorted(path for path in place.iterdir() if path.is_dir())
        yield from (other for other in inner if other.resolve() != folder.resolve())
    yield folder.resolve().parent
