"""Pictures for archives: secondary captures of a study, in colour, with what is written in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oncoseg.case import Array
from oncoseg.extras import require
from oncoseg.write.codes import SITES
from oncoseg.write.dicom import NOTICE, PATIENT_AND_STUDY, SERIES, Origin, now
from oncoseg.write.source import text

STORAGE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
UNPAIRED = {"ABDOMEN", "BRAIN", "CHEST", "HEAD", "LIVER", "NECK", "PANCREAS", "PELVIS", "PROSTATE"}
SOURCE = ("121322", "DCM", "Source image for image processing operation")


def capture(
    origin: Origin,
    picture: Array,
    *,
    series: str,
    uid: str,
    number: int,
    comment: str,
    orientation: Sequence[str],
    slices: Sequence[Any] = (),
) -> Any:
    """A picture (rows, columns, 3) uint8 of `slices` of the series -> the object.

    `series` and `uid` are UIDs, `number` its place in that series; `orientation` says which way of
    the patient columns and rows run, as ("L", "P").
    """
    pydicom = require("pydicom", "dicom")
    made = pydicom.Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    first = origin.stack.slices[0]
    for name in PATIENT_AND_STUDY:
        if name in first:
            setattr(made, name, first[name].value)
    date, time = now()
    values = {
        "SOPClassUID": STORAGE,
        "SOPInstanceUID": uid,
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        "Modality": first.Modality,
        "ConversionType": "WSD",
        "SeriesInstanceUID": series,
        "SeriesNumber": SERIES["key-images"],
        "SeriesDescription": text(f"oncoseg key images ({NOTICE.lower()})"),
        "InstanceNumber": number,
        **_site(origin.stack.body.strip().upper()),
        "ImageComments": text(comment, 1000),
        "ImageType": ["DERIVED", "SECONDARY"],
        "DerivationDescription": f"{NOTICE}. {origin.algorithm}"[:1000],
        "PatientOrientation": list(orientation),
        "BurnedInAnnotation": "YES",
        "DateOfSecondaryCapture": date,
        "TimeOfSecondaryCapture": time,
        **{key: origin.equipment[name] for key, name in EQUIPMENT.items()},
    }
    for name, value in values.items():
        setattr(made, name, value)
    if slices:
        made.SourceImageSequence = [_source(head) for head in slices]
    _pixels(made, picture)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = STORAGE
    made.file_meta.MediaStorageSOPInstanceUID = uid
    made.file_meta.TransferSyntaxUID = EXPLICIT
    return made


EQUIPMENT = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model_name",
    "SoftwareVersions": "software_versions",
    "DeviceSerialNumber": "device_serial_number",
    "SecondaryCaptureDeviceManufacturer": "manufacturer",
    "SecondaryCaptureDeviceManufacturerModelName": "manufacturer_model_name",
    "SecondaryCaptureDeviceSoftwareVersions": "software_versions",
}


def _site(body: str) -> dict[str, str]:
    """The part of the body, if it is a defined term; its side is not known, where it has two."""
    told = {"BodyPartExamined": body} if body in SITES else {}
    return told | ({} if body in UNPAIRED else {"Laterality": ""})


def _source(head: Any) -> Any:
    pydicom = require("pydicom", "dicom")
    item, code = pydicom.Dataset(), pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = SOURCE
    item.ReferencedSOPClassUID = head.SOPClassUID
    item.ReferencedSOPInstanceUID = head.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [code]
    return item


def _pixels(made: Any, picture: Array) -> None:
    made.Rows, made.Columns = picture.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    data = picture.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
