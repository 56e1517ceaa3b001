"""Measurement report (TID 1500): a group each lesion and one each region, with codes and units.

Each group names the segment it measures: regions those of one SEG, lesions those of another. An
interval stands under its volume as how far the true one may lie above and below (CID 225).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oncoseg.blocks.morphology import morphology
from oncoseg.blocks.segments import Segment, diameters
from oncoseg.case import Prediction
from oncoseg.extras import require
from oncoseg.write.codes import PROCEDURES, SITES, Code, coded
from oncoseg.write.dicom import NOTICE, SERIES, Origin, concept, new_uid
from oncoseg.write.pseudonyms import uid_of
from oncoseg.write.source import text

VOLUME: Code = ("118565006", "SCT", "Volume")
LONG: Code = ("103339001", "SCT", "Long Axis")
SHORT: Code = ("103340004", "SCT", "Short Axis")
DIAMETER: Code = ("81827009", "SCT", "Diameter")
MAXIMUM: Code = ("56851009", "SCT", "Maximum")
ABOVE: Code = ("371886008", "SCT", "+, range of upper measurement uncertainty")
BELOW: Code = ("371885007", "SCT", "-, range of lower measurement uncertainty")
MILLILITRE: Code = ("ml", "UCUM", "milliliter")
MILLIMETRE: Code = ("mm", "UCUM", "millimeter")
AREA: Code = ("mm2", "UCUM", "square millimeter")
PURE: Code = ("1", "UCUM", "no units")
# What the finding `shape` measures and the standard has codes for, with units.
SHAPE: dict[str, tuple[Code, Code]] = {
    "surface area": (("C0JK", "IBSI", "Surface Area of Mesh"), AREA),
    "sphericity": (("QCFX", "IBSI", "Sphericity"), PURE),
    "elongation": (("Q3CK", "IBSI", "Elongation"), PURE),
    "flatness": (("N17B", "IBSI", "Flatness"), PURE),
}


def report(
    origin: Origin,
    prediction: Prediction,
    whole: Sequence[Segment],
    whole_seg: Any,
    parts: Sequence[Segment],
    seg: Any,
) -> Any:
    """Regions and the SEG that holds them, lesions and the SEG that holds those -> the object."""
    sr = require("highdicom.sr", "dicom")
    groups = [
        _group(origin, prediction, segment, source, total=source is whole_seg)
        for source, segments in ((whole_seg, whole), (seg, parts))
        for segment in segments
    ]
    modality = str(origin.stack.slices[0].Modality)
    document = sr.MeasurementReport(
        observation_context=_observer(origin),
        procedure_reported=concept(PROCEDURES.get(modality, PROCEDURES["CT"])),
        imaging_measurements=groups,
        title=concept(("126000", "DCM", "Imaging Measurement Report")),
    )
    return _filed(origin, document, [one for one in (whole_seg, seg) if one is not None])


def _filed(origin: Origin, document: Any, segs: Sequence[Any]) -> Any:
    sr = require("highdicom.sr", "dicom")
    study = origin.stack.slices[0].StudyInstanceUID
    others = [
        head
        for one in origin.inputs.values()
        if one.series != origin.stack.series
        for head in one.slices
        if head.StudyInstanceUID == study
    ]
    made = sr.Comprehensive3DSR(
        evidence=[*origin.stack.slices, *others, *segs],
        content=document,
        series_instance_uid=new_uid(),
        series_number=SERIES["sr"],
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=origin.equipment["manufacturer"],
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=text(f"oncoseg measurements ({NOTICE.lower()})"),
    )
    made.ManufacturerModelName = origin.equipment["manufacturer_model_name"]
    made.SoftwareVersions = origin.equipment["software_versions"]
    made.DeviceSerialNumber = origin.equipment["device_serial_number"]
    return made


def _observer(origin: Origin) -> Any:
    sr = require("highdicom.sr", "dicom")
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of("device", origin.made["sha256"]),
        name="oncoseg",
        manufacturer_name="oncoseg",
        model_name=origin.equipment["manufacturer_model_name"],
        serial_number=origin.made["sha256"],
    )
    kind = concept(("121007", "DCM", "Device"))
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=kind, observer_identifying_attributes=device
        )
    )


def _group(
    origin: Origin, prediction: Prediction, segment: Segment, seg: Any, *, total: bool
) -> Any:
    sr = require("highdicom.sr", "dicom")
    category, kind = coded(segment.region)
    site = SITES.get(origin.stack.body.strip().upper())
    name = text(segment.name, 48)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=origin.tracking(segment), identifier=f"{name} (whole region)" if total else name
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=segment.number,
            source_series=sr.SourceSeriesForSegmentation(origin.stack.series),
        ),
        finding_category=concept(category),
        finding_type=concept(kind),
        finding_sites=[sr.FindingSite(concept(site))] if site else None,
        algorithm_id=sr.AlgorithmIdentification(
            name=origin.made["name"],
            version=origin.made["version"],
            parameters=[*origin.algorithm.split(","), *_level(prediction, segment, total=total)],
        ),
        measurements=_whole(origin, prediction, segment) if total else _lesion(origin, segment),
    )


def _level(prediction: Prediction, segment: Segment, *, total: bool) -> list[str]:
    """What share of intervals holds the true volume, for which the templates have no place."""
    return [f"interval_level={prediction.level:g}"] if total and _ends(prediction, segment) else []


def _ends(prediction: Prediction, segment: Segment) -> tuple[float, float] | None:
    """The interval of a region's volume, in ml."""
    return prediction.intervals.get(segment.region)


def _whole(origin: Origin, prediction: Prediction, segment: Segment) -> list[Any]:
    """A region's volume, and how far the true one may lie above and below."""
    value = segment.volume_ml(origin.stack.grid)
    found = _number(VOLUME, value, MILLILITRE)
    ends = _ends(prediction, segment)
    if ends and ends[0] <= value <= ends[1]:
        sr = require("highdicom.sr", "dicom")
        found[0].ContentSequence = sr.ContentSequence(
            [
                *found[0].get("ContentSequence", ()),
                *(
                    sr.NumContentItem(
                        name=concept(code),
                        value=round(reach, 4),
                        unit=concept(MILLILITRE),
                        relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
                    )
                    for code, reach in ((ABOVE, ends[1] - value), (BELOW, value - ends[0]))
                ),
            ]
        )
    return [found]


def _lesion(origin: Origin, segment: Segment) -> list[Any]:
    """Volume, diameters and shape of a lesion."""
    grid = origin.stack.grid
    longest, across, space = diameters(segment, grid)
    shape = morphology(segment.part, grid)
    return [
        _number(VOLUME, segment.volume_ml(grid), MILLILITRE),
        _number(LONG, longest, MILLIMETRE),
        _number(SHORT, across, MILLIMETRE),
        _number(DIAMETER, space, MILLIMETRE, MAXIMUM),
        *(
            _number(code, shape[name], unit)
            for name, (code, unit) in SHAPE.items()
            if name in shape
        ),
    ]


def _number(name: Code, value: float, unit: Code, derived: Code | None = None) -> Any:
    sr = require("highdicom.sr", "dicom")
    derivation = concept(derived) if derived else None
    return sr.Measurement(
        name=concept(name), value=round(value, 4), unit=concept(unit), derivation=derivation
    )
