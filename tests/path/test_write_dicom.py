"""SEG, RTSTRUCT and SR: in any orientation the mask that was predicted, linked to its slices."""

import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from oncoseg import results
from oncoseg.case import Prediction, Task
from oncoseg.errors import BadData, BadFile, UnknownName
from oncoseg.read import read_label, read_volume
from oncoseg.write import KINDS, check, write_prediction, write_volume
from oncoseg.write.codes import NEOPLASM, TISSUE, coded
from oncoseg.write.outlines import outlines

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
from dicoms import series  # noqa: E402 - needs pydicom

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
    return made.but(model=model, **changes)


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


def painted(contours, made, sources):
    """Contours in mm -> mask, by asking for centres of voxels with the even-odd rule."""
    mask = np.zeros(SHAPE, bool)
    back = np.linalg.inv(made.grid.affine)
    columns, rows = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
    for contour in contours:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        points = np.array(contour.ContourData, float).reshape(-1, 3) * [-1, -1, 1]
        assert len(points) == contour.NumberOfContourPoints
        index = points @ back[:3, :3].T + back[:3, 3]
        k = index_of(sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID], made)
        assert np.abs(index[:, 2] - k).max() < 1e-3
        crossings = np.zeros(columns.shape, int)
        for (x, y), (u, v) in zip(index[:, :2], np.roll(index[:, :2], -1, axis=0)):
            between = (y > rows) != (v > rows)
            at = x + (rows - y) * (u - x) / np.where(v == y, 1, v - y)
            crossings += between & (at > columns)
        mask[:, :, k] |= crossings % 2 == 1
    return mask


CASES = [(way, "CT") for way in ORIENTATIONS] + [("oblique", "MR"), ("axial", "PT")]


@pytest.fixture(scope="module", params=CASES, ids=["-".join(case) for case in CASES])
def result(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written é")
    orientation, modality = request.param
    return folder / "out", *written(folder, orientation=orientation, modality=modality)


def test_segments_are_the_regions_voxel_for_voxel(result):
    _, found, made, sources = result
    assert found["seg"].SegmentationType == "BINARY"
    back = volumes(found["seg"], made, sources)
    assert list(back) == ["WT", "TC", "ET"]
    for name, mask in made.masks.items():
        assert (back[name] == mask).all()


def test_the_label_map_has_the_values_of_the_labels(result):
    _, found, made, sources = result
    back = np.zeros(SHAPE, np.uint8)
    for _, k, frame in frames(found["labelmap"], made, sources):
        back[:, :, k] = frame
    assert (back == made.label).all()
    named = {one.SegmentLabel: one.SegmentNumber for one in found["labelmap"].SegmentSequence}
    assert {name: named[name] for name in TASK.labels} == TASK.labels


def test_contours_give_back_the_mask_voxel_for_voxel(result):
    _, found, made, sources = result
    structures = found["rtstruct"]
    names = {one.ROINumber: one.ROIName for one in structures.StructureSetROISequence}
    assert list(names.values()) == ["WT", "TC", "ET"]
    for one in structures.ROIContourSequence:
        mask = made.masks[names[one.ReferencedROINumber]]
        assert (painted(one.ContourSequence, made, sources) == mask).all()
    sizes = [float(one.ROIVolume) for one in structures.StructureSetROISequence]
    assert np.allclose(sizes, [mask.sum() * 0.9 * 0.75 * 2.5e-3 for mask in made.masks.values()])


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_our_own_reader_gives_back_each_region(result, kind):
    out, _, made, _ = result
    for name, mask in made.masks.items():
        label = read_label(out / f"case 1.{kind}.dcm", labels={name: 1}, image=made.images["t1"])
        assert label.grid.same_as(made.grid, 1e-3)
        assert (label.array == mask).all()


def test_our_own_reader_gives_back_the_label_map(result):
    out, _, made, _ = result
    label = read_label(out / "case 1.labelmap.dcm", labels=TASK.labels, image=made.images["t1"])
    assert (label.array == made.label).all()


def values(item):
    """Concept name -> value of the content right in an item."""
    found = {}
    for one in item.ContentSequence:
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


def test_each_lesion_has_a_group_that_measures_its_own_segment(result):
    _, found, made, sources = result
    segs = {found[name].SOPInstanceUID: found[name] for name in ("seg", "lesions")}
    told = groups(found["sr"])
    wanted = ["WT", "TC", "ET"]
    for name, mask in made.masks.items():
        pieces = ndimage.label(mask, np.ones((3, 3, 3)))[0]
        sizes = np.bincount(pieces.ravel())[1:] * made.grid.voxel_volume
        wanted += [f"{name} {n + 1}" for n in range(int((sizes >= 50).sum()))]
    names = [group["Tracking Identifier"].replace(" (whole region)", "") for group in told]
    assert names == wanted
    assert len({group["Tracking Unique Identifier"] for group in told}) == len(told)
    for group in told:
        seg = segs[group["Referenced Segment"].ReferencedSOPInstanceUID]
        number = group["Referenced Segment"].ReferencedSegmentNumber
        mask = list(volumes(seg, made, sources).values())[number - 1]
        size, unit = group["Volume"]
        assert unit == "ml"
        assert size == pytest.approx(mask.sum() * made.grid.voxel_volume / 1000, abs=1e-4)
        assert group["Source Series for Segmentation"] == "1.2.826.0.1.3680043.8.498.2"
        assert (group["Finding"], group["Finding Site"]) == (NEOPLASM[0], "12738006")
        if seg is found["lesions"]:
            tracked = seg.SegmentSequence[number - 1]
            assert tracked.TrackingUID == group["Tracking Unique Identifier"]
            assert group["Long Axis"][1] == group["Short Axis"][1] == "mm"
            assert group["Diameter"][0] >= group["Long Axis"][0] >= group["Short Axis"][0] > 0


def test_every_object_belongs_to_patient_study_frame_and_slices(result):
    out, found, _, sources = result
    for name, made in found.items():
        assert (made.PatientID, made.PatientName) == ("4711", "Smith^Anna")
        assert (made.PatientBirthDate, made.PatientSex, made.StudyID) == ("19700102", "F", "S1")
        assert made.StudyInstanceUID == "1.2.826.0.1.3680043.8.498.1"
        assert made.ManufacturerModelName == "toy 1.2"
        assert made.DeviceSerialNumber == "ab" * 32
        if name != "sr":
            assert made.FrameOfReferenceUID == "1.2.826.0.1.3680043.8.498.3"
        content = (out / f"case 1.{name}.dcm").read_bytes()
        assert all(uid.encode() in content for uid in sources)
        assert f"model_sha256={'ab' * 32}".encode() in content


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("kind", ["seg", "lesions", "rtstruct", "sr"])
def test_dciodvfy_has_nothing_to_say(result, kind):
    command = ["dciodvfy", "-new", str(result[0] / f"case 1.{kind}.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
    assert said == []
    assert done.returncode == 0


@pytest.mark.skipif(not shutil.which("segimage2itkimage"), reason="needs dcmqi")
@pytest.mark.parametrize("kind", ["seg", "labelmap", "lesions"])
def test_dcmqi_reads_the_same_segments(result, tmp_path, kind):
    out, _, made, _ = result
    command = ["segimage2itkimage", "--inputDICOM", str(out / f"case 1.{kind}.dcm")]
    command += ["--outputDirectory", str(tmp_path), "--outputType", "nii", "--prefix", "a"]
    subprocess.run(command, capture_output=True, check=True)
    said = json.loads((tmp_path / "a-meta.json").read_text(encoding="utf-8"))
    names = {
        one["labelID"]: one["SegmentLabel"] for two in said["segmentAttributes"] for one in two
    }
    wanted = {name: made.label == value for name, value in TASK.labels.items()}
    wanted = wanted if kind == "labelmap" else made.masks
    back = {name: np.zeros(SHAPE, bool) for name in names.values()}
    for path in sorted(tmp_path.glob("a-*.nii.gz")):
        found = read_volume(path)
        index = np.argwhere(found.array)
        there = np.linalg.inv(made.grid.affine) @ found.grid.affine
        places = np.rint(index @ there[:3, :3].T + there[:3, 3]).astype(int)
        assert np.abs(index @ there[:3, :3].T + there[:3, 3] - places).max() < 1e-3
        for place, value in zip(places, found.array[tuple(index.T)]):
            back[names[int(value)]][tuple(place)] = True
    for name, mask in back.items():
        if kind == "lesions":
            pieces, _ = ndimage.label(made.masks[name.split()[0]], np.ones((3, 3, 3)))
            assert (mask == (pieces == pieces[mask].max())).all()
        elif name in wanted:
            assert (mask == wanted[name]).all()


@pytest.mark.skipif(not shutil.which("tid1500reader"), reason="needs dcmqi")
def test_dcmqi_reads_the_same_measurements(result, tmp_path):
    out, found, _, _ = result
    command = ["tid1500reader", "--inputDICOM", str(out / "case 1.sr.dcm")]
    command += ["--outputMetadata", str(tmp_path / "a.json")]
    subprocess.run(command, capture_output=True, check=True)
    said = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["Measurements"]
    told = groups(found["sr"])
    assert [one["TrackingIdentifier"] for one in said] == [
        group["Tracking Identifier"] for group in told
    ]
    for one, group in zip(said, told):
        for item in one["measurementItems"]:
            value = (float(item["value"]), item["units"]["CodeValue"])
            assert value == group[item["quantity"]["CodeMeaning"]]


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="needs dcmtk")
def test_dcmtk_takes_the_report(result):
    command = ["dsrdump", str(result[0] / "case 1.sr.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert '"WT (whole region)"' in done.stdout


def test_an_empty_result_is_said_to_be_empty(tmp_path):
    folder = scanned(tmp_path / "scan")
    empty = predicted(folder, np.zeros(SHAPE, np.uint8))
    paths = write_prediction(empty, tmp_path, ("seg", "labelmap", "rtstruct", "sr"))
    found = {path.name.split(".")[-2]: path for path in paths}
    assert sorted(found) == ["labelmap", "rtstruct", "seg", "sr"]
    seg, labelmap, structures, report = (
        pydicom.dcmread(found[name]) for name in ("seg", "labelmap", "rtstruct", "sr")
    )
    assert not seg.pixel_array.any()
    assert not labelmap.pixel_array.any()
    assert not any("ContourSequence" in one for one in structures.ROIContourSequence)
    assert [group["Volume"] for group in groups(report)] == [(0.0, "ml")] * 3
    if shutil.which("dciodvfy"):
        for path in (found[name] for name in ("seg", "rtstruct", "sr")):
            done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, check=False)
            assert b"Error" not in done.stderr


def test_a_result_without_its_series_is_refused_and_nothing_is_left(tmp_path):
    folder = scanned(tmp_path / "scan")
    image = write_volume(tmp_path / "t1.nii.gz", np.zeros(SHAPE), predicted(folder).grid)
    nifti = predicted(folder, images={"t1": image})
    with pytest.raises(BadData, match="refer to the slices of a DICOM series, but none"):
        write_prediction(nifti, tmp_path / "out", ["bids", "seg"])
    with pytest.raises(BadData, match="give the series itself"):
        check("a", {"t1": image}, nifti.grid, ["sr"])
    check("a", {"t1": image}, nifti.grid, ["bids"])
    moved = type(nifti.grid)(SHAPE, nifti.grid.affine + np.eye(4, k=3))
    with pytest.raises(BadData, match="does not lie on the slices of its series"):
        write_prediction(predicted(folder, grid=moved), tmp_path / "out", ["rtstruct"])
    with pytest.raises(UnknownName, match="did you mean seg"):
        write_prediction(nifti, tmp_path / "out", ["segs"])
    assert not (tmp_path / "out").exists()


def test_other_slices_than_those_segmented_are_refused(tmp_path):
    folder = scanned(tmp_path / "scan")
    record = results.save(predicted(folder), tmp_path / "out")
    said = json.loads(record.read_text(encoding="utf-8"))["inputs"]["t1"]
    assert said["series"] == "1.2.826.0.1.3680043.8.498.2"
    assert len(said["instances"]) == SHAPE[2]
    for path in folder.iterdir():
        head = pydicom.dcmread(path)
        head.SOPInstanceUID = head.file_meta.MediaStorageSOPInstanceUID = f"{head.SOPInstanceUID}1"
        head.save_as(path)
    outcome = results.deliver(tmp_path / "out", ["seg"])
    assert outcome.done == []
    assert "is not the series that case case 1 was made from" in outcome.failed["case 1"]


def test_what_cannot_be_linked_is_refused(tmp_path):
    folder = scanned(tmp_path / "scan")
    made = predicted(folder)
    for path in folder.iterdir():
        head = pydicom.dcmread(path)
        head.PatientID = "x" * 65
        head.save_as(path)
    with pytest.raises(BadFile, match="PatientID that DICOM does not allow"):
        write_prediction(made, tmp_path, ["seg"])


def test_values_that_dicom_does_not_allow_are_left_empty(tmp_path):
    more = {"StudyID": "longer than sixteen letters", "PatientSex": "female", "StudyDate": "2020"}
    found, _, _ = written(tmp_path, kinds=["seg", "rtstruct"], **more)
    for made in found.values():
        assert (made.StudyID, made.PatientSex, made.StudyDate) == ("", "", "")


def test_if_one_file_cannot_be_written_none_is_left(tmp_path, monkeypatch):
    folder = scanned(tmp_path / "scan")
    write = results.files.write_bytes

    def full(path, content):
        if "rtstruct" in path.name:
            raise BadFile(path, "could not be written (No space left)", "free some space")
        return write(path, content)

    monkeypatch.setattr("oncoseg.files.write_bytes", full)
    with pytest.raises(BadFile, match="No space left"):
        results.save(predicted(folder), tmp_path / "out", kinds=["seg", "rtstruct"])
    assert list((tmp_path / "out").iterdir()) == []


def test_an_earlier_result_does_not_stay_beside_a_later_one(tmp_path):
    folder = scanned(tmp_path / "scan")
    results.save(predicted(folder), tmp_path / "out", kinds=KINDS)
    results.save(predicted(folder), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"case 1.json", "case 1.nii.gz", "derivatives"}


def test_what_would_take_too_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("oncoseg.write.dicom_seg.LIMIT", 1000)
    made = predicted(scanned(tmp_path / "scan"))
    with pytest.raises(BadData, match=r"3 overlapping segments .* too much for one file"):
        write_prediction(made, tmp_path / "out", ["seg"])
    assert not (tmp_path / "out").exists()
    write_prediction(made, tmp_path / "out", ["labelmap"])  # one number a voxel, whatever the size


def test_many_lesions_of_one_region_are_one_file(tmp_path):
    folder = scanned(tmp_path / "scan")
    label = np.zeros(SHAPE, np.uint8)
    label[1:5, 1:5, 1:4] = label[8:12, 1:5, 1:4] = label[1:5, 9:13, 1:4] = 1
    task = Task("t", ("t1",), {"lesion": 1}, {"lesion": ("lesion",)})
    paths = write_prediction(predicted(folder, label, task=task), tmp_path / "out", ["sr"])
    lesions = next(path for path in paths if "lesions" in path.name)
    seg = pydicom.dcmread(lesions)
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["lesion 1", "lesion 2", "lesion 3"]
    assert seg.NumberOfFrames == 9
    assert seg.pixel_array.sum() == label.sum()


@pytest.mark.parametrize("kinds", [("seg", "sr"), ("sr", "seg"), ("sr",)])
def test_a_report_refers_to_the_segmentations_beside_it(tmp_path, kinds):
    folder = scanned(tmp_path / "scan")
    paths = write_prediction(predicted(folder), tmp_path / "out", kinds)
    found = {path.name.split(".")[-2]: pydicom.dcmread(path) for path in paths}
    assert sorted(found) == ["lesions", "seg", "sr"]
    named = {group["Referenced Segment"].ReferencedSOPInstanceUID for group in groups(found["sr"])}
    assert named == {found["seg"].SOPInstanceUID, found["lesions"].SOPInstanceUID}


def test_the_same_result_is_tracked_by_the_same_uids(tmp_path):
    folder = scanned(tmp_path / "scan")
    told = []
    for out in ("a", "b"):
        paths = write_prediction(predicted(folder), tmp_path / out, ["sr"])
        told.append(groups(pydicom.dcmread(paths[-1])))
    key = "Tracking Unique Identifier"
    assert [group[key] for group in told[0]] == [group[key] for group in told[1]]


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("ET", "108369006"),
        ("whole tumour", "108369006"),
        ("GTV_Mass", "108369006"),
        ("ED", "79654002"),
        ("peritumoral_edema", "79654002"),
        ("necrotic core", "6574001"),
        ("lung nodule", "27925004"),
        ("Liver", "10200004"),
        ("metastases", "14799000"),
        ("something else", "85756007"),
        ("edited", "85756007"),
    ],
)
def test_regions_are_coded_by_their_names(region, code):
    assert coded(region)[1][0] == code
    assert coded("something else") == (TISSUE, TISSUE)


def winding(rings, shape):
    """How often each pixel's centre is gone round, by every ring together."""
    turns = np.zeros(shape, int)
    for ring in rings:
        for (x, y), (u, v) in zip(ring, ring[1:] + ring[:1]):
            assert x == u or y == v
            if x == u:
                turns[min(y, v) : max(y, v), x:] += 1 if v < y else -1
    return turns


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.95))
def test_outlines_enclose_the_mask_and_its_area(seed, rows, columns, share):
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    rings = outlines(mask)
    assert (winding(rings, mask.shape) == mask).all()
    for ring in rings:
        assert len(ring) >= 4
    assert len(rings) == ndimage.label(mask)[1]


@pytest.mark.data
@pytest.mark.parametrize("patient", ["STS_002", "STS_008"])
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_published_masks_come_back_on_real_series(data, tmp_path, patient, modality):
    folder = data / "sts_petctmr_dicom" / patient / modality / "image"
    grid = read_volume(folder).grid
    mask = read_volume(data / "sts_petctmr" / patient / f"{modality}_mask.nii.gz")
    turn = np.linalg.inv(mask.grid.affine) @ grid.affine
    places = np.indices(grid.shape).reshape(3, -1).T @ turn[:3, :3].T + turn[:3, 3]
    assert np.abs(places - np.rint(places)).max() < 0.1
    label = (mask.array[tuple(np.rint(places).astype(int).T)] > 0).reshape(grid.shape)
    task = Task("sarcoma", ("x",), {"GTV": 1}, {"GTV": ("GTV",)})
    none = np.zeros((1, *grid.shape), np.float16)
    made = Prediction("a", task, grid, label.astype(np.uint8), none, ("x",), images={"x": folder})
    paths = write_prediction(made, tmp_path, ["seg", "rtstruct"])
    seg, structures = (pydicom.dcmread(io.BytesIO(path.read_bytes())) for path in paths)
    sources = {}
    for path in folder.iterdir():
        head = pydicom.dcmread(path, stop_before_pixels=True)
        sources[head.SOPInstanceUID] = head
    back = np.zeros(grid.shape, bool)
    for _, k, frame in frames(seg, made, sources):
        back[:, :, k] = frame > 0
    assert (back == label).all()
    area = sum(
        abs(shoelace(np.array(one.ContourData, float).reshape(-1, 3)))
        for one in structures.ROIContourSequence[0].ContourSequence
    )
    step = np.linalg.norm(grid.affine[:3, 2])
    assert area * step == pytest.approx(label.sum() * grid.voxel_volume, rel=1e-4)


def shoelace(points):
    """The area inside a closed contour in a plane."""
    after = np.roll(points, -1, axis=0)
    return np.linalg.norm(np.cross(points, after).sum(axis=0)) / 2
