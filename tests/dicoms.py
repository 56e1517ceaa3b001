"""DICOM files as small as can be: series, enhanced images, RTSTRUCT, SEG, DICOMDIR."""

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SIZE = 6
ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"
STRUCTURES, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4"
UPRIGHT = [1, 0, 0, 0, 1, 0]
PET = {  # of a slice, beside what was injected
    "Modality": "PT",
    "RescaleIntercept": 0,
    "Units": "BQML",
    "CorrectedImage": ["ATTN", "DECY"],
    "DecayCorrection": "START",
    "PatientWeight": 70,
    "SeriesDate": "20200102",
    "SeriesTime": "001000",
    "AcquisitionTime": "001000.00",
    "AcquisitionDate": "20200102",
}
DRUG = {
    "RadionuclideTotalDose": 7e6,
    "RadionuclideHalfLife": 6600,
    "RadiopharmaceuticalStartTime": "222000",  # 110 minutes before, across midnight
}


def made_of(values, **more):
    """A data set of keywords, those of None left out; dicts and lists of dicts become sequences."""
    made = Dataset()
    fill(made, {**values, **more})
    return made


def fill(made, values):
    for name, value in values.items():
        if value is not None:
            setattr(made, name, items(value))


def items(value):
    listed = [value] if isinstance(value, dict) else value
    nested = isinstance(listed, list) and listed and isinstance(listed[0], dict)
    return [made_of(item) for item in listed] if nested else value


def file_of(values, kind, syntax=ExplicitVRLittleEndian, uid=""):
    meta = FileMetaDataset()
    uid = uid or generate_uid()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = kind, syntax
    meta.MediaStorageSOPInstanceUID = uid
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    fill(made, {"SOPClassUID": kind, "SOPInstanceUID": uid, **values})
    return made


def head(number, **changes):
    """A slice of 4 rows by 3 columns, all of whose values are 10 * its number, but one of 7."""
    values = {
        "Modality": "CT",
        "PatientID": "Smith^Anna",
        "PatientName": "Smith^Anna",
        "StudyInstanceUID": "1.2.2",
        "SeriesInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.4",
        "ImageOrientationPatient": UPRIGHT,
        "ImagePositionPatient": [-5, -6, 2.5 * number],
        "PixelSpacing": [2, 0.5],
        "Rows": 4,
        "Columns": 3,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "InstanceNumber": SIZE - number,
        **changes,
    }
    pixels = values.pop("pixels", None)
    syntax = values.pop("syntax", ExplicitVRLittleEndian)
    uid = generate_uid(entropy_srcs=[str(number), str(values["SeriesInstanceUID"])])
    made = file_of(values, CTImageStorage, syntax, values.get("SOPInstanceUID") or uid)
    if pixels is None:
        pixels = np.full((made.Rows, made.Columns), 10 * number, np.int16)
        pixels[0, 1] = 7  # row 0, column 1
    made.PixelData = np.ascontiguousarray(pixels).tobytes()
    return made


def series(folder, changes=lambda number: {}, numbers=range(SIZE), name="{}.dcm"):
    """A folder of slices, whose names are in another order than their places."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        made = head(number, **changes(number))
        made.save_as(folder / name.format(97 * (number + 1) % 13), enforce_file_format=True)
    return folder


def enhanced(path, frames, *, shared=(), pixels=None, **changes):
    """One file of many frames, each of which says `frames[n]` (keyword -> item of a sequence)."""
    count = len(frames)
    values = {
        "Modality": "CT",
        "PatientID": "Smith^Anna",
        "SeriesInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.4",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "NumberOfFrames": count,
        **dict.fromkeys(("Rows", "Columns"), 0),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "SharedFunctionalGroupsSequence": dict(shared),
        "PerFrameFunctionalGroupsSequence": frames,
        **changes,
    }
    if pixels is None:
        pixels = np.zeros((count, 4, 3), np.int16)
        pixels[:] = 10 * np.arange(count)[:, None, None]
        pixels[:, 0, 1] = 7
    values["Rows"], values["Columns"] = pixels.shape[1:]
    made = file_of(values, ENHANCED_CT)
    made.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def at(place, **more):
    """What a frame says of its place."""
    return {"PlanePositionSequence": {"ImagePositionPatient": list(place)}, **more}


SHARED = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": UPRIGHT},
    "PixelMeasuresSequence": {"PixelSpacing": [2, 0.5], "SliceThickness": 2.5},
    "PixelValueTransformationSequence": {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
    },
}


def rtstruct(path, structures, *, uid="1.2.3", frame="1.2.4", kind="CLOSED_PLANAR", **changes):
    """Structures by name, each a list of contours of points (x, y, z) in LPS mm."""
    rois, contours = [], []
    for number, (name, outlines) in enumerate(structures.items(), 1):
        rois.append({"ROINumber": number, "ROIName": name, "ReferencedFrameOfReferenceUID": frame})
        drawn = [
            {
                "ContourGeometricType": kind,
                "NumberOfContourPoints": len(points),
                "ContourData": [f"{x:.6g}" for point in points for x in point],
            }
            for points in outlines
        ]
        contours.append({"ReferencedROINumber": number, "ContourSequence": drawn})
    reference = {"SeriesInstanceUID": uid}
    values = {
        "Modality": "RTSTRUCT",
        "PatientID": "Smith^Anna",
        "SeriesInstanceUID": "1.2.9",
        "ReferencedFrameOfReferenceSequence": {
            "FrameOfReferenceUID": frame,
            "RTReferencedStudySequence": {
                "ReferencedSOPInstanceUID": "1.2.2",
                "RTReferencedSeriesSequence": reference,
            },
        },
        "StructureSetROISequence": rois,
        "ROIContourSequence": contours,
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    file_of(values, STRUCTURES).save_as(path, enforce_file_format=True)
    return path


def seg(path, segments, places, *, uid="1.2.3", kind="BINARY", shape=(4, 3), **changes):
    """Segments by name, each {slice: mask (rows, columns)}; `places` of all slices in LPS mm."""
    frames, pixels = [], []
    for number, masks in enumerate(segments.values(), 1):
        for index, mask in masks.items():
            own = {} if kind == "LABELMAP" else {"ReferencedSegmentNumber": number}
            frames.append(at(places[index], SegmentIdentificationSequence=own or None))
            pixels.append(np.asarray(mask))
    array = np.array(pixels, dtype=np.uint8)
    bits = 1 if kind == "BINARY" else 8
    values = {
        "Modality": "SEG",
        "PatientID": "Smith^Anna",
        "SeriesInstanceUID": "1.2.8",
        "FrameOfReferenceUID": "1.2.4",
        "ReferencedSeriesSequence": {"SeriesInstanceUID": uid},
        "SegmentationType": kind,
        "MaximumFractionalValue": 200 if kind == "FRACTIONAL" else None,
        "SegmentationFractionalType": "PROBABILITY" if kind == "FRACTIONAL" else None,
        "SegmentSequence": [
            {"SegmentNumber": number, "SegmentLabel": name}
            for number, name in enumerate(segments, 1)
        ],
        "NumberOfFrames": len(frames),
        **dict(zip(("Rows", "Columns"), shape)),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        **dict.fromkeys(("BitsAllocated", "BitsStored"), bits),
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "SharedFunctionalGroupsSequence": {
            name: SHARED[name] for name in ("PlaneOrientationSequence", "PixelMeasuresSequence")
        },
        "PerFrameFunctionalGroupsSequence": frames,
        **changes,
    }
    made = file_of(values, SEGMENTATION)
    raw = np.packbits(array.ravel(), bitorder="little") if bits == 1 else array
    made.PixelData = raw.tobytes() + b"\0" * (raw.size % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def index(folder, names, **changes):
    """A DICOMDIR of one series that names files, as lists of folders and name."""
    records = [
        {"DirectoryRecordType": "SERIES", "SeriesInstanceUID": "1.2.3", "RecordInUseFlag": 65535}
    ]
    records += [
        {"DirectoryRecordType": "IMAGE", "ReferencedFileID": list(parts), "RecordInUseFlag": 65535}
        for parts in names
    ]
    values = {"FileSetID": "TEST", "DirectoryRecordSequence": records, **changes}
    made = file_of(values, "1.2.840.10008.1.3.10")
    del made.SOPClassUID, made.SOPInstanceUID
    made.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"
