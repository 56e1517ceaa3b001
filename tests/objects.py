"""DICOM objects that are written of a predicted glioma, and what they say, read without us."""

import numpy as np
import pydicom

from dicoms import series
from oncoseg.case import Prediction, Task
from oncoseg.read import read_volume
from oncoseg.write import write_prediction

SHAPE = (22, 18, 9)  # columns, rows, slices
TASK = Task(
    "glioma",
    ("t1",),
    {"NCR": 1, "ED": 2, "ET": 4},
    {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
)
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
ORIENTATIONS = {
    "axial": [1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [float(f"{number:.9f}") for number in (*TURN[:, 0], *TURN[:, 1])],
}
STORAGE = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}


def scanned(folder, orientation="axial", modality="CT", **more):
    """A folder with a series of SHAPE, slices 2.5 mm apart."""
    normal = np.cross(ORIENTATIONS[orientation][:3], ORIENTATIONS[orientation][3:])

    def said(number):
        place = np.array([-30, 40, 12.5]) + 2.5 * number * normal
        return {
            "SOPClassUID": STORAGE[modality],
            "Modality": modality,
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
            "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.3",
            "PatientName": "Smith^Anna",
            "PatientID": "4711",
            "PatientBirthDate": "19700102",
            "PatientSex": "F",
            "StudyDate": "20200304",
            "StudyTime": "101112",
            "StudyID": "S1",
            "AccessionNumber": "A1",
            "ReferringPhysicianName": "",
            "PositionReferenceIndicator": "",
            "SliceThickness": 2.5,
            "BodyPartExamined": "BRAIN",
            "ImageOrientationPatient": ORIENTATIONS[orientation],
            "ImagePositionPatient": [float(f"{value:.6f}") for value in place],
            "PixelSpacing": [0.9, 0.75],
            "Rows": SHAPE[1],
            "Columns": SHAPE[0],
            "RescaleSlope": 1 if modality == "CT" else None,
            "RescaleIntercept": -1024 if modality == "CT" else None,
            **({"Units": "GML", "SUVType": "BW"} if modality == "PT" else {}),
            "pixels": np.full((SHAPE[1], SHAPE[0]), 10 * number, np.int16),
            **more,
        }

    return series(folder, said, numbers=range(SHAPE[2]))


def labels():
    """Two lesions, one with a hole and an island in it, nested regions, and two lone voxels."""
    label = np.zeros(SHAPE, np.uint8)
    label[2:13, 3:15, 1:6] = 2
    label[4:11, 5:13, 2:5] = 4
    label[6:9, 7:11, 2:5] = 0
    label[7, 8, 3] = 1
    label[16:20, 2:6, 5:8] = 1
    label[20, 16, 8] = 4
    label[21, 17, 8] = 4  # touches the one before at a corner alone
    return label


def predicted(folder, label=None, **changes):
    """A prediction on the grid of the series in a folder, as our reader has it."""
    grid = read_volume(folder).grid
    label = labels() if label is None else label
    none = np.zeros((3, *SHAPE), np.float16)
    model = {"name": "toy", "version": "1.2", "sha256": "ab" * 32}
    made = Prediction("case 1", TASK, grid, label, none, ("t1",), images={"t1": folder})
    told = {"intervals": {"WT": (0.5, 5.0)}, "level": 0.9}
    return made.but(model=model, **(told | changes))


def written(tmp_path, kinds=("seg", "labelmap", "rtstruct", "sr"), **options):
    """Kind -> what was written, the prediction, and the source's slices by SOPInstanceUID."""
    folder = scanned(tmp_path / "scan", **options)
    made = predicted(folder)
    paths = write_prediction(made, tmp_path / "out", kinds)
    sources = {}
    for path in folder.iterdir():
        head = pydicom.dcmread(path)
        sources[head.SOPInstanceUID] = head
    found = {path.name.removeprefix("case 1.")[:-4]: pydicom.dcmread(path) for path in paths}
    return found, made, sources


def index_of(head, made):
    """The slice (k) on which a header lies, by the grid that our reader gave."""
    place = np.array([*head.ImagePositionPatient, 1], float) * [-1, -1, 1, 1]
    index = np.linalg.inv(made.grid.affine) @ place
    assert np.abs(index[:2]).max() < 1e-3
    assert abs(index[2] - round(index[2])) < 1e-3
    return round(index[2])


def frames(seg, made, sources):
    """(segment number, k, pixels as (i, j)) of each frame, placed by the source it names."""
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, said in zip(pixels, seg.PerFrameFunctionalGroupsSequence):
        source = said.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place = said.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(place, sources[source].ImagePositionPatient, atol=1e-4)
        named = said.get("SegmentIdentificationSequence")
        number = named[0].ReferencedSegmentNumber if named else 0
        yield number, index_of(sources[source], made), frame.T


def volumes(seg, made, sources):
    """Segment label -> mask (i, j, k)."""
    masks = {one.SegmentNumber: np.zeros(SHAPE, bool) for one in seg.SegmentSequence}
    for number, k, frame in frames(seg, made, sources):
        masks[number][:, :, k] |= frame > 0
    return {one.SegmentLabel: masks[one.SegmentNumber] for one in seg.SegmentSequence}


def values(item):
    """Concept name -> value of the content right in an item."""
    found = {}
    for one in item.get("ContentSequence", ()):
        name = (
            one.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in one else ""
        )
        if one.ValueType == "NUM":
            said = one.MeasuredValueSequence[0]
            unit = said.MeasurementUnitsCodeSequence[0].CodeValue
            found[name] = (float(said.NumericValue), unit)
        elif one.ValueType == "CODE":
            found[name] = one.ConceptCodeSequence[0].CodeValue
        elif one.ValueType == "IMAGE":
            found[name] = one.ReferencedSOPSequence[0]
        else:
            found[name] = one.get("TextValue") or one.get("UID")
    return found


def groups(report):
    inner = [one for one in report.ContentSequence if one.ValueType == "CONTAINER"]
    return [values(group) for one in inner for group in one.ContentSequence]
