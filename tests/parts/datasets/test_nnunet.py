"""nnU-Net: channels by the names in dataset.json, labels either way round, regions, ignore."""

import json

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData, BadFile
from oncoseg.registry import build
from oncoseg.write import write_volume


def put(*paths):
    for path in paths:
        write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def dataset(folder, **said):
    for case in ("a", "b"):
        put(*(folder / "imagesTr" / f"{case}_000{channel}.nii.gz" for channel in (0, 1)))
        put(folder / "labelsTr" / f"{case}.nii.gz")
    put(*(folder / "imagesTs" / f"c_000{channel}.nii.gz" for channel in (0, 1)))
    said = {
        "channel_names": {"1": "FLAIR", "0": "T1w"},
        "labels": {"background": 0, "tumour": 1},
        "file_ending": ".nii.gz",
        **said,
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def test_channels_have_their_names_from_the_json(tmp_path):
    folder = dataset(tmp_path)
    nnunet = build("datasets", "nnunet")
    assert nnunet.matches(folder)
    first, second = nnunet.find(folder)
    assert {name: path.name for name, path in first.images.items()} == {
        "T1w": "a_0000.nii.gz",
        "FLAIR": "a_0001.nii.gz",
    }
    assert {name: path.name for name, path in second.labels.items()} == {"T1w": "b.nii.gz"}
    said = nnunet.describe(folder)
    assert (said["modalities"], said["labels"]) == (["T1w", "FLAIR"], {"tumour": 1})
    assert "regions" not in said


def test_test_images_have_the_same_names_and_no_labels(tmp_path):
    nnunet = build("datasets", "nnunet")
    (source,) = nnunet.find(dataset(tmp_path) / "imagesTs")
    assert (source.case, list(source.images), dict(source.labels)) == ("c", ["T1w", "FLAIR"], {})


def test_version_1_is_understood(tmp_path):
    old = {"channel_names": {}, "modality": {"0": "CT", "1": "PET"}}
    folder = dataset(tmp_path, **old, labels={"0": "background", "1": "tumour"})
    nnunet = build("datasets", "nnunet")
    assert list(nnunet.find(folder)[0].images) == ["CT", "PET"]
    assert nnunet.describe(folder)["labels"] == {"tumour": 1}


def test_regions_and_the_ignored_value_are_kept(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    said = build("datasets", "nnunet").describe(
        dataset(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    )
    assert said["labels"] == {"label_1": 1, "label_2": 2, "enhancing": 3}
    assert said["regions"] == {
        "whole": ("label_1", "label_2", "enhancing"),
        "core": ("label_2", "enhancing"),
        "enhancing": ("enhancing",),
    }
    assert said["ignore"] == 4


def test_contradictions_are_refused(tmp_path):
    nnunet = build("datasets", "nnunet")
    folder = dataset(tmp_path)
    put(folder / "imagesTr" / "a_0002.nii.gz")
    with pytest.raises(BadData, match=r"a_0002\.nii\.gz: dataset\.json names no channel 2"):
        nnunet.find(folder)
    (folder / "imagesTr" / "a_0002.nii.gz").unlink()
    put(folder / "labelsTr" / "z.nii.gz")
    with pytest.raises(BadData, match=r"z\.nii\.gz: has no image"):
        nnunet.find(folder)
    (folder / "dataset.json").unlink()
    assert nnunet.matches(folder)
    with pytest.raises(BadFile, match="channels have no names"):
        nnunet.find(folder)


def test_plain_numbers_are_no_channels(tmp_path):
    put(tmp_path / "scan_2019.nii.gz", tmp_path / "scan_2020.nii.gz")
    assert not build("datasets", "nnunet").matches(tmp_path)
