"""The plain layout: what a name says inside a case's folder, and what it leaves unclear."""

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData
from oncoseg.registry import build
from oncoseg.write import write_volume


def put(*paths):
    for path in paths:
        write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def find(folder):
    dataset = build("datasets", "folders")
    assert dataset.matches(folder)
    return dataset.find(folder)


def shown(files):
    return {name: path.name for name, path in files.items()}


def test_each_mask_belongs_to_its_own_modality(tmp_path):
    put(*(tmp_path / "p1" / f"{name}.nii.gz" for name in ("CT_image", "CT_mask", "MR_T1_image")))
    put(tmp_path / "p1" / "MR_T1_mask.nii.gz", tmp_path / "p2" / "PET_image.nii.gz")
    first, second = find(tmp_path)
    assert shown(first.images) == {"ct": "CT_image.nii.gz", "mr_t1": "MR_T1_image.nii.gz"}
    assert shown(first.labels) == {"ct": "CT_mask.nii.gz", "mr_t1": "MR_T1_mask.nii.gz"}
    assert (second.case, list(second.images), list(second.labels)) == ("p2", ["pet"], [])


@pytest.mark.parametrize("label", ["label", "mask", "seg", "lesion_consensus", "p1_seg"])
def test_a_label_without_a_modality_lies_on_the_first(tmp_path, label):
    put(*(tmp_path / "p1" / f"{name}.nii.gz" for name in ("T1", "FLAIR", label)))
    (source,) = find(tmp_path)
    assert set(source.images) == {"t1", "flair"}
    assert shown(source.labels) == {"flair": f"{label}.nii.gz"}
    (alone,) = build("datasets", "folders").find(tmp_path / "p1")
    assert (alone.case, alone.images, alone.labels) == ("p1", source.images, source.labels)


def test_modalities_that_nobody_has_heard_of_need_to_say_image(tmp_path):
    put(tmp_path / "p1" / "a_image.nii.gz", tmp_path / "p1" / "b_image.nii.gz")
    put(tmp_path / "p1" / "a_mask.nii.gz")
    (source,) = find(tmp_path)
    assert shown(source.images) == {"a": "a_image.nii.gz", "b": "b_image.nii.gz"}
    assert set(source.labels) == {"a"}
    put(tmp_path / "p1" / "strange.nii.gz")
    with pytest.raises(BadData, match=r"strange\.nii\.gz: its name says neither"):
        find(tmp_path)


def test_names_may_start_with_the_case(tmp_path):
    put(tmp_path / "p1" / "p1_a.nii.gz", tmp_path / "p1" / "p1_t1.nii.gz")
    put(tmp_path / "p1" / "p1_seg.nii.gz")
    (source,) = find(tmp_path)
    assert shown(source.images) == {"a": "p1_a.nii.gz", "t1": "p1_t1.nii.gz"}
    assert shown(source.labels) == {"a": "p1_seg.nii.gz"}


def test_cases_side_by_side(tmp_path):
    put(*(tmp_path / f"{case}_{kind}.nii.gz" for case in "xy" for kind in ("image", "label")))
    first, second = find(tmp_path)
    assert (first.case, shown(first.images)) == ("x", {"image": "x_image.nii.gz"})
    assert (second.case, shown(second.labels)) == ("y", {"image": "y_label.nii.gz"})


def test_visits_of_one_patient_are_grouped(tmp_path):
    put(*(tmp_path / f"sub-01_ses-{visit}_T1w.nii.gz" for visit in ("a", "b")))
    sources = find(tmp_path)
    assert [source.case for source in sources] == ["sub-01_ses-a", "sub-01_ses-b"]
    assert {source.patient for source in sources} == {"sub-01"}


def test_two_label_maps_and_lone_ones_are_refused(tmp_path):
    put(*(tmp_path / "p1" / f"{name}.nii.gz" for name in ("t1", "seg", "mask")))
    with pytest.raises(BadData, match=r"has mask\.nii\.gz too as its t1"):
        find(tmp_path)
    put(tmp_path / "other" / "p2" / "ct_mask.nii.gz", tmp_path / "other" / "p2" / "t1.nii.gz")
    with pytest.raises(BadData, match="label map without an image"):
        find(tmp_path / "other")


def test_names_with_and_without_a_case_side_by_side_are_refused(tmp_path):
    put(tmp_path / "x_t1.nii.gz", tmp_path / "t1.nii.gz")
    with pytest.raises(BadData, match=r"t1\.nii\.gz: names no case"):
        find(tmp_path)
