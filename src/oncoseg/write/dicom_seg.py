"""DICOM Segmentation: each segment a coded thing, each frame linked to the slice it lies on.

Binary, where segments may overlap, or a label map, where each voxel has one and the numbers of
segments are the values of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oncoseg.case import Array
from oncoseg.extras import require
from oncoseg.write.codes import coded
from oncoseg.write.dicom import NOTICE, SERIES, Origin, concept, new_uid
from oncoseg.write.lesions import Segment
from oncoseg.write.source import text

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
        pixel_array=_pixels(segments, used, overlapping=kind != "labelmap"),
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
    touched = [segment.mask.any(axis=(0, 1)) for segment in segments]
    return [int(index) for index in np.flatnonzero(np.any(touched, axis=0))] or [0]


def _pixels(segments: Sequence[Segment], used: Sequence[int], *, overlapping: bool) -> Array:
    """(frames, rows, columns, segments) of 0 and 1, or (frames, rows, columns) of numbers."""
    shape = segments[0].mask.shape
    masks = np.zeros((len(used), shape[1], shape[0], len(segments)), dtype=np.uint8)
    for number, segment in enumerate(segments):
        masks[..., number] = segment.mask[:, :, used].transpose(2, 1, 0)
    if overlapping:
        return masks
    numbers = np.array([segment.number for segment in segments], dtype=np.uint8)
    return (masks * numbers).max(axis=-1)


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
