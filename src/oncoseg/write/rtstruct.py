"""RT Structure Set: each region as closed contours on the slices of its series.

Contours run along the edges of voxels, holes are joined by keyholes (see `outlines`), so any reader
that asks for the centres of voxels gets back the same mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oncoseg.blocks.segments import Segment
from oncoseg.case import Array
from oncoseg.extras import require
from oncoseg.write.codes import NEOPLASM, coded
from oncoseg.write.dicom import NOTICE, PATIENT_AND_STUDY, SERIES, Origin, code_item, new_uid, now
from oncoseg.write.outlines import Ring, outlines
from oncoseg.write.source import text

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
EXPLICIT = "1.2.840.10008.1.2.1"
COLOURS = ((230, 75, 53), (77, 187, 213), (0, 160, 135), (240, 180, 40), (140, 100, 200))


def structure_set(origin: Origin, segments: Sequence[Segment]) -> Any:
    """Masks (i, j, k) on the grid of the series -> the object; an empty one has no contour."""
    pydicom = require("pydicom", "dicom")
    made = pydicom.Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    first = origin.stack.slices[0]
    for name in PATIENT_AND_STUDY:
        if name in first:
            setattr(made, name, first[name].value)
    _general(made, origin)
    made.ReferencedFrameOfReferenceSequence = [_frame(origin)]
    made.StructureSetROISequence = []
    made.ROIContourSequence = []
    made.RTROIObservationsSequence = []
    for segment in segments:
        made.StructureSetROISequence.append(_roi(origin, segment))
        made.ROIContourSequence.append(_contours(origin, segment))
        made.RTROIObservationsSequence.append(_observation(segment))
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = STORAGE
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = EXPLICIT
    return made


def _general(made: Any, origin: Origin) -> None:
    date, time = now()
    equipment = origin.equipment
    values = {
        "SOPClassUID": STORAGE,
        "SOPInstanceUID": new_uid(),
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        "Modality": "RTSTRUCT",
        "SeriesInstanceUID": new_uid(),
        "SeriesNumber": SERIES["rtstruct"],
        "SeriesDescription": text(f"oncoseg regions ({NOTICE.lower()})"),
        "InstanceNumber": 1,
        "OperatorsName": "",
        "Manufacturer": equipment["manufacturer"],
        "ManufacturerModelName": equipment["manufacturer_model_name"],
        "SoftwareVersions": equipment["software_versions"],
        "DeviceSerialNumber": equipment["device_serial_number"],
        "FrameOfReferenceUID": origin.stack.slices[0].FrameOfReferenceUID,
        "PositionReferenceIndicator": origin.stack.slices[0].PositionReferenceIndicator,
        "StructureSetLabel": "ONCOSEG",
        "StructureSetDescription": f"{NOTICE}. {origin.algorithm}",
        "StructureSetDate": date,
        "StructureSetTime": time,
        "ApprovalStatus": "UNAPPROVED",
    }
    for name, value in values.items():
        setattr(made, name, value)


def _frame(origin: Origin) -> Any:
    """Study, series and every slice, under their frame of reference."""
    pydicom = require("pydicom", "dicom")
    first = origin.stack.slices[0]
    series, study, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_image(head) for head in origin.stack.slices]
    study.ReferencedSOPClassUID = STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(head: Any) -> Any:
    pydicom = require("pydicom", "dicom")
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = head.SOPClassUID
    item.ReferencedSOPInstanceUID = head.SOPInstanceUID
    return item


def _roi(origin: Origin, segment: Segment) -> Any:
    pydicom = require("pydicom", "dicom")
    item = pydicom.Dataset()
    item.ROINumber = segment.number
    item.ReferencedFrameOfReferenceUID = origin.stack.slices[0].FrameOfReferenceUID
    item.ROIName = text(segment.name) or f"region {segment.number}"
    item.ROIVolume = f"{segment.volume_ml(origin.stack.grid):.10g}"  # cm³
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = text(f"{origin.made['name']} {origin.made['version']}")
    return item


def _observation(segment: Segment) -> Any:
    pydicom = require("pydicom", "dicom")
    kind = coded(segment.region)[1]
    item = pydicom.Dataset()
    item.ObservationNumber = item.ReferencedROINumber = segment.number
    item.ROIObservationLabel = text(segment.name, 16)
    item.RTROIIdentificationCodeSequence = [code_item(kind)]
    item.RTROIInterpretedType = "GTV" if kind == NEOPLASM else ""
    item.ROIInterpreter = ""
    return item


def _contours(origin: Origin, segment: Segment) -> Any:
    pydicom = require("pydicom", "dicom")
    item = pydicom.Dataset()
    item.ROIDisplayColor = list(COLOURS[(segment.number - 1) % len(COLOURS)])
    columns, rows = (side.start for side in segment.box[:2])
    found = [
        _contour(origin.stack.slices[index], [(x + columns, y + rows) for x, y in ring])
        for index, part in segment.slices.items()
        for ring in outlines(part.T)
    ]
    if found:
        item.ContourSequence = found
        for place, contour in enumerate(found, start=1):
            contour.ContourNumber = place
    item.ReferencedROINumber = segment.number
    return item


def _contour(head: Any, ring: Ring) -> Any:
    pydicom = require("pydicom", "dicom")
    item = pydicom.Dataset()
    item.ContourImageSequence = [_image(head)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    points = placed(head, np.array(ring, dtype=float) - 0.5)
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.5f}" for value in points.ravel()]
    return item


def placed(head: Any, points: Array) -> Array:
    """Points (n, 2), column and row counted from the centre of the first pixel -> (n, 3) LPS mm."""
    along, down = np.array(head.ImageOrientationPatient, dtype=float).reshape(2, 3)
    rows, columns = (float(length) for length in head.PixelSpacing)
    origin = np.array(head.ImagePositionPatient, dtype=float)
    return origin + points[:, :1] * along * columns + points[:, 1:] * down * rows
