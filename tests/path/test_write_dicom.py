"""SEG, RTSTRUCT and SR: in any orientation the mask that was predicted, linked to its slices."""

import io
import shutil
import subprocess

import numpy as np
import pytest

from oncoseg.case import Prediction, Task
from oncoseg.read import read_label, read_volume
from oncoseg.write import write_prediction
from oncoseg.write.codes import TISSUE, coded

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
from objects import SHAPE, TASK, frames, groups, index_of, predicted, scanned, volumes, written  # noqa: E402 - needs pydicom


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


def test_segments_are_the_regions_voxel_for_voxel(objects):
    _, found, made, sources = objects
    assert found["seg"].SegmentationType == "BINARY"
    back = volumes(found["seg"], made, sources)
    assert list(back) == ["WT", "TC", "ET"]
    for name, mask in made.masks.items():
        assert (back[name] == mask).all()


def test_the_label_map_has_the_values_of_the_labels(objects):
    _, found, made, sources = objects
    back = np.zeros(SHAPE, np.uint8)
    for _, k, frame in frames(found["labelmap"], made, sources):
        back[:, :, k] = frame
    assert (back == made.label).all()
    named = {one.SegmentLabel: one.SegmentNumber for one in found["labelmap"].SegmentSequence}
    assert {name: named[name] for name in TASK.labels} == TASK.labels


def test_contours_give_back_the_mask_voxel_for_voxel(objects):
    _, found, made, sources = objects
    structures = found["rtstruct"]
    names = {one.ROINumber: one.ROIName for one in structures.StructureSetROISequence}
    assert list(names.values()) == ["WT", "TC", "ET"]
    for one in structures.ROIContourSequence:
        mask = made.masks[names[one.ReferencedROINumber]]
        assert (painted(one.ContourSequence, made, sources) == mask).all()
    sizes = [float(one.ROIVolume) for one in structures.StructureSetROISequence]
    assert np.allclose(sizes, [mask.sum() * 0.9 * 0.75 * 2.5e-3 for mask in made.masks.values()])


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_our_own_reader_gives_back_each_region(objects, kind):
    out, _, made, _ = objects
    for name, mask in made.masks.items():
        label = read_label(out / f"case 1.{kind}.dcm", labels={name: 1}, image=made.images["t1"])
        assert label.grid.same_as(made.grid, 1e-3)
        assert (label.array == mask).all()


def test_our_own_reader_gives_back_the_label_map(objects):
    out, _, made, _ = objects
    label = read_label(out / "case 1.labelmap.dcm", labels=TASK.labels, image=made.images["t1"])
    assert (label.array == made.label).all()


def test_every_object_belongs_to_patient_study_frame_and_slices(objects):
    out, found, _, sources = objects
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


def test_values_that_dicom_does_not_allow_are_left_empty(tmp_path):
    more = {"StudyID": "longer than sixteen letters", "PatientSex": "female", "StudyDate": "2020"}
    found, _, _ = written(tmp_path, kinds=["seg", "rtstruct"], **more)
    for made in found.values():
        assert (made.StudyID, made.PatientSex, made.StudyDate) == ("", "", "")


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
