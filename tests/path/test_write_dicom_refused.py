"""What cannot be written as DICOM objects is refused, and nothing is left of it."""

import json

import numpy as np
import pytest

from oncoseg import results
from oncoseg.errors import BadData, BadFile, UnknownName
from oncoseg.write import KINDS, check, write_prediction, write_volume

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
from objects import SHAPE, predicted, scanned  # noqa: E402 - needs pydicom


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
