"""DICOM folders: named by folders or headers, series kept apart, no identity shown."""

import pytest

from oncoseg.errors import BadData
from oncoseg.read import find, read_volume
from oncoseg.registry import build

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")


def series(folder, *, patient="Smith^Anna", uid="1.2.3", modality="MR", said="", count=3, **more):
    """Slices of zeros, 2 mm apart, as small as can be."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        head = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        head.SOPClassUID, head.SOPInstanceUID = MRImageStorage, f"{uid}.{number}"
        head.PatientID, head.SeriesInstanceUID, head.Modality = patient, uid, modality
        head.SeriesDescription, head.FrameOfReferenceUID = said, "1.9"
        head.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        head.ImagePositionPatient, head.PixelSpacing = [0, 0, 2 * number], [1, 1]
        head.Rows = head.Columns = 2
        head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
        head.BitsAllocated = head.BitsStored = 16
        head.HighBit, head.PixelRepresentation = 15, 1
        head.PixelData = bytes([int(uid[-1])] * 8)
        for name, value in more.items():
            setattr(head, name, value)
        head.save_as(folder / f"{uid}-{number}.dcm", enforce_file_format=True)


def shown(folder):
    found = find(folder)
    assert found.layout == "dicom"
    return {source.case: set(source.images) for source in found.sources}


def test_folders_name_cases_and_modalities(tmp_path):
    series(tmp_path / "STS_1" / "CT" / "image", patient="a", uid="1.1")
    series(tmp_path / "STS_1" / "MR_T1" / "image", patient="a", uid="1.2")
    series(tmp_path / "STS_2" / "PET", patient="b", uid="1.3")
    series(tmp_path / "STS_2" / "PET" / "mask", patient="b", uid="1.4", modality="RTSTRUCT")
    assert shown(tmp_path) == {"STS_1": {"ct", "mr_t1"}, "STS_2": {"pet"}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("AX T1 pre", "t1"),
        ("t1_mprage_sag", "t1"),
        ("SAG T1 POST GAD", "t1ce"),
        ("AX T1+C", "t1ce"),
        ("t1 tse without contrast", "t1"),
        ("AX T2 FSE", "t2"),
        ("Ax T2 FLAIR", "flair"),
        ("perfusion", "mr"),
    ],
)
def test_mr_is_told_by_its_description(tmp_path, said, expected):
    series(tmp_path / "p" / "003", said=said)
    assert shown(tmp_path)["p"] == {expected}


def test_series_mixed_in_one_folder_are_kept_apart_and_no_identity_is_shown(tmp_path):
    series(tmp_path / "all", patient="Smith^Anna", uid="1.1", said="T1")
    series(tmp_path / "all", patient="Smith^Anna", uid="1.2", said="T2")
    series(tmp_path / "all", patient="Jones^Bob", uid="1.3", said="T2")
    sources = find(tmp_path).sources
    assert sorted(sorted(source.images) for source in sources) == [["t1", "t2"], ["t2"]]
    assert not any("Smith" in source.case or "Jones" in source.case for source in sources)
    both = next(source for source in sources if len(source.images) == 2)
    assert read_volume(both.images["t1"]).array.max() == 0x0101
    assert read_volume(both.images["t2"]).array.max() == 0x0202


def test_series_folders_of_one_patient_are_one_case(tmp_path):
    series(tmp_path / "ward" / "001", uid="1.1", said="T1")
    series(tmp_path / "ward" / "002", uid="1.2", said="T2")
    assert shown(tmp_path / "ward") == {"ward": {"t1", "t2"}}


def test_two_series_of_one_modality_are_refused(tmp_path):
    series(tmp_path / "001", uid="1.1", said="T1")
    series(tmp_path / "002", uid="1.2", said="T1")
    with pytest.raises(BadData, match="is a second t1 of case"):
        find(tmp_path)


def test_localisers_are_left_out(tmp_path):
    series(tmp_path, uid="1.1", said="T1")
    series(tmp_path, uid="1.2", said="T1", count=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert list(shown(tmp_path).values()) == [{"t1"}]


def test_structures_are_labels_of_the_series_they_were_drawn_on(tmp_path):
    from dicoms import rtstruct

    square = [[(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]]
    for patient, name in (("a", "GTV_MR"), ("b", "gtv")):
        uid = f"1.{ord(patient)}"
        series(tmp_path / patient / "MR", patient=patient, uid=uid)
        path = tmp_path / patient / "MR" / "mask" / "RS.dcm"
        rtstruct(path, {name: square, "Node": square}, uid=uid, PatientID=patient)
    found = find(tmp_path)
    assert found.description["labels"] == {"GTV": 1, "Node": 2}
    assert [source.labels["mr"].name for source in found.sources] == ["RS.dcm", "RS.dcm"]
    rtstruct(path.with_name("second.dcm"), {"Node": square}, uid=uid)
    with pytest.raises(BadData, match="is a second label map on the mr of case b"):
        find(tmp_path)


def test_one_series_with_its_drawing_beside_is_a_case(tmp_path):
    from dicoms import rtstruct

    series(tmp_path / "image", uid="1.1", said="T1")
    square = [[(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]]
    rtstruct(tmp_path / "mask" / "RS.dcm", {"GTV": square}, uid="1.1")
    (source,) = find(tmp_path).sources
    assert (set(source.images), set(source.labels)) == ({"t1"}, {"t1"})


def test_a_drawing_without_its_series_is_refused(tmp_path):
    from dicoms import rtstruct

    square = [[(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]]
    series(tmp_path / "MR", uid="1.1")
    rtstruct(tmp_path / "mask" / "RS.dcm", {"GTV": square}, uid="1.7")
    with pytest.raises(BadData, match="add the series, or remove this label map"):
        find(tmp_path)


def test_only_dicom_matches(tmp_path):
    (tmp_path / "a.txt").write_text("no scan")
    assert not build("datasets", "dicom").matches(tmp_path)
