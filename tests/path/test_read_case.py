"""Read: cases are matched by name, and a case that contradicts itself is refused."""

import json

import numpy as np
import pytest

from oncoseg.case import Grid, Source
from oncoseg.errors import BadData, BadFile
from oncoseg.read import find, read_case
from oncoseg.write import write_volume

SHAPE = (6, 7, 5)


def grid(shift=0.0, shape=SHAPE):
    affine = np.diag([1.0, 2, 3, 1])
    affine[0, 3] = shift
    return Grid(shape, affine)


def put(path, value=1, where=None):
    where = where or grid()
    array = np.full(where.shape, value, np.int16)
    array[0, 0, 0] = 0  # an image of one value alone is refused
    return write_volume(path, array, where)


def refused(words, path, call):
    """One sentence that names the file or folder."""
    with pytest.raises((BadData, BadFile), match=words) as caught:
        call()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


def test_modalities_are_matched_by_name_never_by_position(tmp_path):
    images = {"flair": put(tmp_path / "a.nii", 7), "t1": put(tmp_path / "b.nii", 5)}
    case = read_case(Source("c", "p", images), modalities=("T1w", "t2f"))
    assert {name: image.array.max() for name, image in case.images.items()} == {"t1": 5, "flair": 7}
    assert set(read_case(Source("c", "p", images), modalities=("t1", "t2")).images) == {"t1"}


def test_none_of_the_modalities_is_refused():
    with pytest.raises(BadData, match="case c: has none of t2; it has ct"):
        read_case(Source("c", "p", {"ct": "x.nii"}), modalities=("t2",))


def test_labels_outside_the_scheme_are_refused_by_value(tmp_path):
    image, label = put(tmp_path / "t1.nii"), put(tmp_path / "seg.nii", 7)
    source = Source("c", "p", {"t1": image}, {"t1": label})
    words = r"holds label 7, which is not in the scheme \{'tumour': 1\}"
    refused(words, label, lambda: read_case(source, labels={"tumour": 1}))
    case = read_case(source, labels={"tumour": 7})
    assert case.annotated == ("tumour",)
    assert case.labeled


def test_fractions_in_labels_are_refused(tmp_path):
    label = write_volume(tmp_path / "seg.nii", np.full(SHAPE, 0.5, np.float32), grid())
    source = Source("c", "p", {"t1": put(tmp_path / "t1.nii")}, {"t1": label})
    refused("fractions", label, lambda: read_case(source))


def test_an_image_of_one_value_is_refused_but_an_empty_label_map_is_not(tmp_path):
    image = put(tmp_path / "t1.nii")
    flat = write_volume(tmp_path / "flat.nii", np.full(SHAPE, 7, np.int16), grid())
    refused("holds 7 in every voxel", flat, lambda: read_case(Source("c", "p", {"t1": flat})))
    empty = write_volume(tmp_path / "seg.nii", np.zeros(SHAPE, np.uint8), grid())
    assert read_case(Source("c", "p", {"t1": image}, {"t1": empty})).labeled


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (grid(shape=(6, 7, 4)), r"its shape is \(6, 7, 4\), that of t1 is \(6, 7, 5\)"),
        (grid(shift=0.5), "its affine differs from that of t1 by up to 0.5 mm"),
    ],
)
def test_a_label_that_lies_elsewhere_than_its_image_is_refused(tmp_path, where, words):
    label = put(tmp_path / "seg.nii", 1, where)
    source = Source("c", "p", {"t1": put(tmp_path / "t1.nii")}, {"t1": label})
    refused(words, label, lambda: read_case(source))


def test_a_label_follows_to_an_image_on_the_same_grid(tmp_path):
    images = {"t1": put(tmp_path / "t1.nii"), "t2": put(tmp_path / "t2.nii")}
    source = Source("c", "p", images, {"t1": put(tmp_path / "seg.nii")})
    assert set(read_case(source, modalities=("t2",)).labels) == {"t2"}


def test_channels_have_the_names_that_share_a_file(tmp_path):
    both = np.stack([np.full(SHAPE, 3, np.int16), np.full(SHAPE, 4, np.int16)], axis=-1)
    both[0] = 0
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(both, np.eye(4)), path)
    case = read_case(Source("c", "p", {"FLAIR": path, "T1w": path}), modalities=("t1",))
    assert {name: image.array.max() for name, image in case.images.items()} == {"t1": 4}
    three = Source("c", "p", dict.fromkeys(("a", "b", "c"), path))
    refused("holds 2 channels, but 3 are named", path, lambda: read_case(three))


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    refused("is an empty folder", tmp_path, lambda: find(tmp_path))
    refused("does not exist", tmp_path / "x", lambda: find(tmp_path / "x"))


def test_a_folder_of_other_things_names_the_layouts(tmp_path):
    (tmp_path / "letter.txt").write_text("hello")
    refused("none of the ways .*brats.*dicom", tmp_path, lambda: find(tmp_path))


def test_two_cases_under_one_name_are_refused(tmp_path):
    put(tmp_path / "p1.nii")
    put(tmp_path / "p1.nii.gz")
    refused("two cases under the name p1", tmp_path / "p1.nii.gz", lambda: find(tmp_path))


def test_names_that_differ_in_case_alone_are_two_cases_under_one_name(tmp_path):
    put(tmp_path / "a_t1.nii")
    put(tmp_path / "A_t1.nii.gz")
    refused("a second case is named", tmp_path, lambda: find(tmp_path))


def test_two_files_of_one_modality_are_refused(tmp_path):
    put(tmp_path / "p1" / "t1c.nii")
    put(tmp_path / "p1" / "t1gd.nii")
    refused("'t1c' and 't1gd', which both mean t1ce", tmp_path / "p1", lambda: find(tmp_path))


def test_one_file_is_a_case(tmp_path):
    found = find(put(tmp_path / "anna_t1c.nii.gz"))
    assert [(s.case, list(s.images)) for s in found.sources] == [("anna", ["t1ce"])]
    assert list(find(put(tmp_path / "anna.nii.gz")).sources[0].images) == ["image"]


def test_a_layout_can_be_named(tmp_path):
    put(tmp_path / "anna" / "anna_t1.nii.gz")
    assert find(tmp_path).layout == "brats"
    assert find(tmp_path, layout="folders").layout == "folders"


def test_description_has_canonical_names(tmp_path):
    for name in ("imagesTr", "labelsTr"):
        put(tmp_path / name / ("c_0000.nii.gz" if name == "imagesTr" else "c.nii.gz"))
    said = {"channel_names": {"0": "T1Gd"}, "labels": {"background": 0, "tumour": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(said))
    found = find(tmp_path)
    assert found.layout == "nnunet"
    assert found.description["modalities"] == ["t1ce"]
    assert list(found.sources[0].images) == ["t1ce"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "layout", "count"),
    [
        ("brats2021", "brats", 4),
        ("sts_petctmr", "folders", 18),
        ("msd_task04_hippocampus", "pairs", 200),
        ("kvasir_seg_256", "pairs", 150),
        ("isic2017", "pairs", 150),
        ("busi_22", "pairs", 15),
        ("open_ms", "folders", 1),
        ("pyradiomics", "folders", 5),
        ("sts_petctmr_dicom", "dicom", 2),
    ],
)
def test_real_data_sets_are_found_and_read(data, name, layout, count):
    found = find(data / name)
    assert (found.layout, len(found.sources)) == (layout, count)
    case = read_case(found.sources[0])
    assert all(np.ptp(image.array) > 0 for image in case.images.values())
    if layout != "dicom":
        assert all(label.array.max() > 0 for label in case.labels.values())
        assert case.labels


@pytest.mark.data
def test_real_glioma_case_by_name(data):
    source = find(data / "brats2021" / "BraTS2021_01661").sources[0]
    case = read_case(source, modalities=("T1Gd",), labels={"NCR": 1, "ED": 2, "ET": 4})
    assert list(case.images) == list(case.labels) == ["t1ce"]
    assert case.images["t1ce"].path.name == "BraTS2021_01661_t1ce.nii.gz"
    refused("holds label 4", data, lambda: read_case(source, labels={"NCR": 1, "ED": 2, "ET": 3}))


@pytest.mark.data
def test_real_modalities_lie_on_grids_of_their_own_and_may_be_absent(data):
    sources = find(data / "sts_petctmr").sources
    kinds = sorted(len(source.images) for source in sources)
    assert kinds.count(3) == 12
    assert kinds.count(1) == 2
    case = read_case(next(source for source in sources if len(source.images) == 3))
    assert set(case.images) == set(case.labels) == {"ct", "mr_t1", "pet"}
    assert len({case.images[name].grid.shape for name in case.images}) == 3
