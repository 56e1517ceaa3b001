"""Read: right, or refused with one sentence that names the file; more in test_read_*.py."""

import json
import time

import nibabel
import numpy as np
import pytest

from oncoseg.read import canonical, read_label, read_volume
from scans import nii, refused


def test_what_is_no_scan_is_refused(tmp_path):
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.dcm", "a.jpg"):
        (tmp_path / name).write_bytes(b"hello, this is only text")
        refused(tmp_path / name, "no NIfTI|damaged|broken NRRD|no MetaImage|no picture|no DICOM")
    refused(tmp_path / "none.nii", "does not exist")
    (tmp_path / "a.txt").write_text("text")
    refused(tmp_path / "a.txt", "of no kind that can be read")


def test_label_maps_are_whole_numbers_from_0(tmp_path):
    whole = nii(tmp_path / "a.nii", np.full((2, 3, 4), 3.0))
    assert read_label(whole).array.dtype == np.int32
    refused(nii(tmp_path / "b.nii", np.full((2, 3, 4), 0.5)), "fractions", read_label)
    refused(nii(tmp_path / "c.nii", np.full((2, 3, 4), -1, np.int16)), "holds -1", read_label)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("t1 T1n T1w t1_pre", "t1"),
        ("t1ce T1C t1Gd t1post t1_gd T1wCE t1-post", "t1ce"),
        ("T2 t2w", "t2"),
        ("FLAIR t2f T2FLAIR t2-flair", "flair"),
        ("CT", "ct"),
        ("PT pet SUV", "pet"),
        ("MR_T1 mr_t1", "mr_t1"),
        ("Ktrans", "ktrans"),
        ("Unheard_Of", "unheard_of"),
    ],
)
def test_names_of_the_field_have_one_spelling(names, expected):
    assert {canonical(name) for name in names.split()} == {expected}


@pytest.mark.data
def test_real_scans_are_as_nibabel_reads_them(data):
    paths = sorted((data / "sts_petctmr").rglob("*.nii.gz"))[:12]
    paths += sorted((data / "msd_task04_hippocampus" / "images").glob("*.nii.gz"))[:12]
    assert paths
    for path in paths:
        image, volume = nibabel.load(path), read_volume(path)
        assert (np.asarray(image.dataobj) == volume.array).all()
        assert np.allclose(image.affine, volume.grid.affine, atol=1e-6)


@pytest.mark.data
def test_reading_is_as_fast_as_nibabel_though_it_checks_more(data):
    path = next((data / "brats2021").rglob("*_t2.nii.gz"))
    ours, theirs = [], []
    for _ in range(5):
        start = time.perf_counter()
        read_volume(path)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        np.asarray(nibabel.load(path).dataobj)
        theirs.append(time.perf_counter() - start)
    assert min(ours) <= 1.2 * min(theirs), json.dumps([min(ours), min(theirs)])
