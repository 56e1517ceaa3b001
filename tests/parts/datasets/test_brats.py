"""BraTS: both ways of naming, their labels, and patients of several visits."""

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData
from oncoseg.registry import build
from oncoseg.write import write_volume


def put(path):
    return write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def dataset(folder, case, names, separator="_"):
    for name in names:
        put(folder / case / f"{case}{separator}{name}.nii.gz")
    return folder


def test_cases_to_2021_have_enhancing_tumour_4(tmp_path):
    folder = dataset(tmp_path, "BraTS2021_01", ("t1", "t1ce", "t2", "flair", "seg"))
    brats = build("datasets", "brats")
    assert brats.matches(folder)
    (source,) = brats.find(folder)
    assert (source.case, source.patient) == ("BraTS2021_01", "BraTS2021_01")
    assert set(source.images) == {"t1", "t1ce", "t2", "flair"}
    assert source.images["t1ce"].name == "BraTS2021_01_t1ce.nii.gz"
    assert [path.name for path in source.labels.values()] == ["BraTS2021_01_seg.nii.gz"]
    said = brats.describe(folder)
    assert said["labels"] == {"NCR": 1, "ED": 2, "ET": 4}
    assert said["regions"] == {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)}


def test_cases_from_2023_have_enhancing_tumour_3_and_visits_of_one_patient(tmp_path):
    for visit in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001"):
        dataset(tmp_path, visit, ("t1n", "t1c", "t2w", "t2f", "seg"), "-")
    brats = build("datasets", "brats")
    assert brats.matches(tmp_path)
    sources = brats.find(tmp_path)
    assert [source.case for source in sources] == ["BraTS-GLI-00001-000", "BraTS-GLI-00001-001"]
    assert {source.patient for source in sources} == {"BraTS-GLI-00001"}
    assert set(sources[0].images) == {"t1", "t1ce", "t2", "flair"}
    assert brats.describe(tmp_path)["labels"]["ET"] == 3


def test_one_case_by_itself_with_absent_sequences_and_no_label(tmp_path):
    dataset(tmp_path, "x", ("t1", "flair"))
    (source,) = build("datasets", "brats").find(tmp_path / "x")
    assert set(source.images) == {"t1", "flair"}
    assert not source.labels


def test_other_folders_do_not_match(tmp_path):
    dataset(tmp_path, "x", ("t1", "adc"))
    assert not build("datasets", "brats").matches(tmp_path)


def test_a_label_without_images_is_refused(tmp_path):
    dataset(tmp_path, "x", ("seg",))
    with pytest.raises(BadData, match="label map without an image"):
        build("datasets", "brats").find(tmp_path)
