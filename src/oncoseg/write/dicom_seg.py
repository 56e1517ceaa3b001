"""DICOM Segmentation: each segment a coded thing, each frame linked to the slice it lies on.

Binary, where segments may overlap, or a label map, where each voxel has one and the numbers of
segments are the values of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oncoseg.blocks.segments import Segment
from oncoseg.case import Array
from oncoseg.errors import BadData
from oncoseg.extras import require
from oncoseg.write.codes import coded
from oncoseg.write.dicom import NOTICE, SERIES, Origin, concept, new_uid
from oncoseg.write.source import text

LIMIT = 4_000_000_000  # bytes of overlapping segments that are held at once
TITLES = {"seg": "regions", "labelmap": "labels", "lesions": "lesions"}


def segmentation(origin: Origin, segments: Sequence[Segment], kind: str) -> Any:
    """Masks (i, j, k) on the grid of the series -> the object; `kind` is one of `TITLES`.

    Only slices with something on them become frames; of an empty result, one empty frame is kept.
    """
    seg = require("highdicom.seg", "dicom")
    slices, used = origin.stack.slices, _used(segments)
    described = [_described(origin, segment, tracked=kind == "lesions") for segment in segments]
    made = seg.Segmentation(
        source_images=[slices[index] for index in used],
        further_source_images=[head for index, head in enumerate(slices) if index not in set(used)],
        pixel_array=_pixels(segments, used),
        segmentation_type="LABELMAP" if kind == "labelmap" else "BINARY",
        segment_descriptions=described,
        series_instance_uid=new_uid(),
        series_number=SERIES[kind],
        sop_instance_uid=new_uid(),
        instance_number=1,
        content_label="ONCOSEG",
        content_description=text(f"{TITLES[kind].capitalize()}. {NOTICE}."),
        series_description=text(f"oncoseg {TITLES[kind]} ({NOTICE.lower()})"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **origin.equipment,
    )
    made.PositionReferenceIndicator = slices[0].PositionReferenceIndicator
    return made


def _used(segments: Sequence[Segment]) -> list[int]:
    """The slices that any segment touches; the first, if there is none."""
    return sorted({index for segment in segments for index in segment.slices}) or [0]


def _pixels(segments: Sequence[Segment], used: Sequence[int]) -> Array:
    """(frames, rows, columns) of numbers; where segments overlap, a last axis of 0 and 1 each."""
    shape = segments[0].source.shape
    most = max(segment.number for segment in segments)
    numbers = np.zeros((len(used), shape[1], shape[0]), np.uint8 if most < 256 else np.uint16)
    for segment in segments:
        if not _drawn(numbers, segment, used, segment.number):
            return _stacked(segments, used, numbers.shape)
    return numbers


def _stacked(segments: Sequence[Segment], used: Sequence[int], shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape)) * len(segments)
    if size > LIMIT:
        raise BadData(
            f"{len(segments)} overlapping segments ({segments[0].name} to {segments[-1].name}) on "
            f"{len(used)} slices need {size / 1e9:.1f} GB at once, too much for one file; write "
            "labelmap or bids, or keep fewer pieces (the post-hoc step largest_component)"
        )
    masks = np.zeros((*shape, len(segments)), np.uint8)
    for place, segment in enumerate(segments):
        _drawn(masks[..., place], segment, used, 1)
    return masks


def _drawn(frames: Array, segment: Segment, used: Sequence[int], value: int) -> bool:
    """Put a value where a segment is; False, at once, where another value is already there."""
    columns, rows = segment.box[:2]
    place = {index: frame for frame, index in enumerate(used)}
    for index, part in segment.slices.items():
        frame = frames[place[index], rows, columns]
        if frame[part.T].any():
            return False
        frame[part.T] = value
    return True


def _described(origin: Origin, segment: Segment, *, tracked: bool) -> Any:
    highdicom, seg = require("highdicom", "dicom"), require("highdicom.seg", "dicom")
    category, kind = coded(segment.region)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=origin.made["name"],
        version=origin.made["version"],
        family=concept(("123110", "DCM", "Artificial Intelligence")),
        source="oncoseg",
    )
    algorithm[0].AlgorithmParameters = origin.algorithm
    return seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=text(segment.name) or f"segment {segment.number}",
        segmented_property_category=concept(category),
        segmented_property_type=concept(kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_id=text(segment.name) if tracked else None,
        tracking_uid=origin.tracking(segment) if tracked else None,
    )
