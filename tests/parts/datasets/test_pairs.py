"""Paired folders: images and label maps of the same names, pictures, images alone."""

import numpy as np
import pytest
from PIL import Image

from oncoseg.case import Grid
from oncoseg.errors import BadData
from oncoseg.registry import build
from oncoseg.write import write_volume


def put(*paths):
    for path in paths:
        write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def find(folder):
    dataset = build("datasets", "pairs")
    assert dataset.matches(folder)
    return dataset.find(folder)


def test_images_and_labels_pair_by_name(tmp_path):
    put(tmp_path / "images" / "a.nii.gz", tmp_path / "images" / "b.nii.gz")
    put(tmp_path / "labels" / "b.nii.gz")
    (tmp_path / "images" / "._a.nii.gz").write_bytes(b"left by a system")
    first, second = find(tmp_path)
    assert (first.case, first.labels) == ("a", {})
    assert second.images == {"image": tmp_path / "images" / "b.nii.gz"}
    assert second.labels == {"image": tmp_path / "labels" / "b.nii.gz"}


def test_colour_pictures_are_three_modalities_of_one_file(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (4, 5)).save(tmp_path / "images" / "a.jpg")
    Image.new("L", (4, 5)).save(tmp_path / "images" / "g.png")
    Image.new("L", (4, 5)).save(tmp_path / "masks" / "a.png")
    Image.new("L", (4, 5)).save(tmp_path / "masks" / "g_mask.png")
    colour, grey = find(tmp_path)
    assert list(colour.images) == ["red", "green", "blue"]
    assert len(set(colour.images.values())) == 1
    assert list(colour.labels) == ["red"]
    assert list(grey.images) == ["image"]
    assert grey.labels["image"].name == "g_mask.png"


def test_a_label_without_an_image_is_refused(tmp_path):
    put(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "b.nii.gz")
    with pytest.raises(BadData, match=r"b\.nii\.gz: has no image of the same name"):
        find(tmp_path)


def test_two_label_folders_are_refused(tmp_path):
    put(*(tmp_path / name / "a.nii.gz" for name in ("images", "labels", "masks")))
    with pytest.raises(BadData, match="has both labels and masks"):
        find(tmp_path)


def test_scans_alone_are_a_case_each_unless_names_say_more(tmp_path):
    put(tmp_path / "one.nii.gz", tmp_path / "two.nii.gz")
    assert [source.case for source in find(tmp_path)] == ["one", "two"]
    put(tmp_path / "two_seg.nii.gz")
    assert not build("datasets", "pairs").matches(tmp_path)


def test_what_a_folder_numbers_is_one_thing(tmp_path):
    put(*(tmp_path / name / "a.nii.gz" for name in ("images", "Instances")))
    (source,) = find(tmp_path)
    assert source.instances
    assert source.labels
    (tmp_path / "Instances").rename(tmp_path / "labels")
    assert not find(tmp_path)[0].instances
