"""Key images: what an archive takes, of the right slice, telling what is burnt in and no more."""

import io
import re
import shutil
import subprocess

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")

from objects import SHAPE, predicted, scanned  # noqa: E402 - needs pydicom
from oncoseg import results  # noqa: E402
from oncoseg.read import read_volume  # noqa: E402
from oncoseg.report import report  # noqa: E402
from oncoseg.report.key_images import key_images  # noqa: E402
from oncoseg.write import Pseudonyms  # noqa: E402


def made(folder, label=None, orientation="axial", pseudonyms=Pseudonyms(), **more):  # noqa: B008
    scan = scanned(folder / "scan", orientation, **more)
    prediction = predicted(scan, label)
    files, told = key_images(prediction, {"t1": read_volume(scan)}, pseudonyms)
    return [pydicom.dcmread(io.BytesIO(one)) for one in files], told, scan


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    return made(tmp_path_factory.mktemp("keys"))


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("orientation", ["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_dciodvfy_has_nothing_to_say(tmp_path, orientation, modality):
    found, _, _ = made(tmp_path, orientation=orientation, modality=modality)
    for number, one in enumerate(found):
        path = tmp_path / f"{number}.dcm"
        one.save_as(path, enforce_file_format=True)
        done = subprocess.run(
            ["dciodvfy", "-new", path], capture_output=True, text=True, check=False
        )
        lines = done.stderr.splitlines()
        assert one.BodyPartExamined == "BRAIN"
        assert [line for line in lines if line.startswith(("Error", "Warning"))] == []


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("body", ["LEG", "CHEST", "HEAD", "NECK", "ABDOMEN", "PELVIS", "", "mine"])
def test_of_any_part_of_the_body_there_is_no_error(tmp_path, body):
    found, _, _ = made(tmp_path, BodyPartExamined=body)
    path = tmp_path / "one.dcm"
    found[0].save_as(path, enforce_file_format=True)
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
    # Which side it is of is not known where a part may have two: the standard wants it empty then.
    unsure = body in {"LEG", "", "mine"}
    assert [line.partition(">")[0] for line in lines] == (
        ["Warning - </Laterality(0020,0060)"] if unsure else []
    )
    assert found[0].get("BodyPartExamined", "") == (body if body != "mine" else "")


def test_a_report_brings_them_and_leaves_none_of_an_earlier_one(tmp_path):
    scan = scanned(tmp_path / "scan")
    results.save(predicted(scan), tmp_path / "out")
    written = report(tmp_path / "out", kinds=("html", "key-images"))
    names = [f"case 1.key-image-{number:02d}.dcm" for number in range(1, 6)]
    assert [path.name for path in written] == ["case 1.html", *names]
    label = np.zeros(SHAPE, np.uint8)
    label[4:10, 4:10, 4:8] = 2
    results.save(predicted(scan, label), tmp_path / "out")
    report(tmp_path / "out", kinds=("key-images",))
    assert [path.name for path in tmp_path.glob("out/*key-image*")] == names[:1]
    for path in scan.iterdir():
        path.unlink()
    (page,) = report(tmp_path / "out", kinds=("key-images",))
    assert "Without key images" in page.read_text(encoding="utf-8")


def test_one_of_each_lesion_says_what_is_burnt_in_and_is_in_colour(objects):
    found, told, _ = objects
    assert told == []
    names = [one.ImageComments.partition(":")[0] for one in found]
    assert names == ["WT 1", "WT 2", "TC 1", "TC 2", "ET 1"]
    for number, one in enumerate(found, start=1):
        assert one.InstanceNumber == number
        assert one.BurnedInAnnotation == "YES"
        assert one.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert one.PhotometricInterpretation == "RGB"
        pixels = one.pixel_array.astype(int)
        assert (np.ptp(pixels, axis=2) > 60).sum() > 100  # a coloured outline
        assert (one.PatientID, str(one.PatientName)) == ("4711", "Smith^Anna")
    assert len({one.SeriesInstanceUID for one in found}) == 1
    assert len({one.SOPInstanceUID for one in found}) == len(found)


def test_it_refers_to_the_slice_that_it_shows(objects):
    found, _, scan = objects
    heads = {head.SOPInstanceUID: head for head in map(pydicom.dcmread, scan.iterdir())}
    for one in found:
        (source,) = one.SourceImageSequence
        shown = heads[source.ReferencedSOPInstanceUID]
        assert shown.StudyInstanceUID == one.StudyInstanceUID
    label = np.zeros(SHAPE, np.uint8)
    label[4:10, 4:10, 6:8] = 2
    label[4:14, 4:10, 7] = 2  # longest in slice 7
    again, _, _ = made(scan.parent / "other", label)
    place = {
        head.SOPInstanceUID: (float(head.ImagePositionPatient[2]) - 12.5) / 2.5
        for head in map(pydicom.dcmread, (scan.parent / "other" / "scan").iterdir())
    }
    assert place[again[0].SourceImageSequence[0].ReferencedSOPInstanceUID] == 7


def test_written_again_it_is_the_same_object(tmp_path):
    scan = scanned(tmp_path / "scan")
    images = {"t1": read_volume(scan)}
    one, two = (
        [pydicom.dcmread(io.BytesIO(file)) for file in key_images(predicted(scan), images, key)[0]]
        for key in (Pseudonyms(), Pseudonyms())
    )
    assert [a.SOPInstanceUID for a in one] == [b.SOPInstanceUID for b in two]
    assert all(np.array_equal(a.pixel_array, b.pixel_array) for a, b in zip(one, two))


def test_pseudonyms_leave_nothing_of_the_patient(tmp_path):
    key = Pseudonyms.of(tmp_path / "key.txt")
    found, _, _ = made(tmp_path, pseudonyms=key)
    for one in found:
        # A new UID has digits as they come, which may be any four.
        text = re.sub(r"2\.25\.\d+", "", "\n".join(map(str, one)))
        for word in ("Smith", "4711", "19700102", "20200304", "1.2.826.0.1.3680043.8.498"):
            assert word not in text


def test_without_a_series_or_a_lesion_there_is_none_and_it_is_said(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction = predicted(scan)
    gone = prediction.but(images={"t1": tmp_path / "p1.nii.gz"})
    files, (told,) = key_images(gone, {}, Pseudonyms())
    assert files == []
    assert told.startswith("Without key images")
    empty = prediction.but(label=np.zeros(SHAPE, np.uint8))
    assert key_images(empty, {"t1": read_volume(scan)}, Pseudonyms()) == ([], [])
