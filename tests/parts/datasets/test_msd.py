"""Decathlon: the last axis has its names from dataset.json; stray files are passed over."""

import json

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData
from oncoseg.registry import build
from oncoseg.write import write_volume


def put(*paths):
    for path in paths:
        write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def dataset(folder, **said):
    put(folder / "imagesTr" / "b_1.nii.gz", folder / "labelsTr" / "b_1.nii.gz")
    put(folder / "imagesTs" / "b_2.nii.gz")
    (folder / "imagesTr" / "._b_1.nii.gz").write_bytes(b"left by a system")
    said = {
        "name": "BRATS",
        "modality": {"1": "T1w", "0": "FLAIR", "10": "T2w", "2": "t1gd"},
        "labels": {"0": "background", "1": "edema", "2": "core"},
        "training": [
            {"image": "./imagesTr/b_1.nii.gz", "label": "./labelsTr/b_1.nii.gz"},
            {"image": "./imagesTr/._b_1.nii.gz", "label": "./labelsTr/._b_1.nii.gz"},
        ],
        **said,
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def test_modalities_are_in_the_order_of_their_numbers(tmp_path):
    folder = dataset(tmp_path)
    msd = build("datasets", "msd")
    assert msd.matches(folder)
    (source,) = msd.find(folder)
    assert list(source.images) == ["FLAIR", "T1w", "t1gd", "T2w"]
    assert set(source.images.values()) == {folder / "imagesTr" / "b_1.nii.gz"}
    assert dict(source.labels) == {"FLAIR": folder / "labelsTr" / "b_1.nii.gz"}
    assert msd.describe(folder) == {
        "name": "BRATS",
        "modalities": ["FLAIR", "T1w", "t1gd", "T2w"],
        "labels": {"edema": 1, "core": 2},
    }


def test_test_images_by_themselves(tmp_path):
    (source,) = build("datasets", "msd").find(dataset(tmp_path) / "imagesTs")
    assert (source.case, len(source.images), dict(source.labels)) == ("b_2", 4, {})


def test_files_that_are_listed_but_missing_are_refused(tmp_path):
    folder = dataset(tmp_path, training=[{"image": "./imagesTr/b_9.nii.gz"}])
    with pytest.raises(BadData, match=r"b_9\.nii\.gz: is listed in dataset\.json, but missing"):
        build("datasets", "msd").find(folder)


def test_labels_without_images_and_unnamed_modalities_are_refused(tmp_path):
    folder = dataset(tmp_path)
    put(folder / "labelsTr" / "b_7.nii.gz")
    with pytest.raises(BadData, match="has no image in imagesTr"):
        build("datasets", "msd").find(folder)
    with pytest.raises(BadData, match="names no modality"):
        build("datasets", "msd").find(dataset(tmp_path / "other", modality={}))
    (tmp_path / "dataset.json").unlink()
    assert not build("datasets", "msd").matches(tmp_path)
