"""BIDS: entities say what a scan is; what is ambiguous is refused, predictions are no truth."""

import json

import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.errors import BadData, BadFile
from oncoseg.read import find
from oncoseg.write import write_volume


def put(*paths):
    for path in paths:
        write_volume(path, np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))


def dataset(folder, *names, derived=(), by="a reader"):
    folder.mkdir(parents=True, exist_ok=True)
    said = {"Name": "gliomas", "BIDSVersion": "1.9.0"}
    (folder / "dataset_description.json").write_text(json.dumps(said))
    masks = folder / "derivatives" / "masks"
    put(*(folder / name for name in names), *(masks / name for name in derived))
    if derived:
        said = {**said, "DatasetType": "derivative", "GeneratedBy": [{"Name": by}]}
        (masks / "dataset_description.json").write_text(json.dumps(said))
    return folder


def shown(files):
    return {name: path.name for name, path in files.items()}


def test_suffixes_and_contrast_name_modalities_and_sessions_are_cases(tmp_path):
    folder = dataset(
        tmp_path,
        *(f"sub-01/anat/sub-01_{name}.nii.gz" for name in ("T1w", "ce-gd_T1w", "T2w", "FLAIR")),
        "sub-01/pet/sub-01_trc-FDG_pet.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        *(f"sub-02/ses-{visit}/anat/sub-02_ses-{visit}_T2w.nii.gz" for visit in "ab"),
    )
    (folder / "participants.tsv").write_text("participant_id\tsite\nsub-02\tÅrhus\n")
    found = find(folder)
    assert found.layout == "bids"
    first, *visits = found.sources
    assert shown(first.images) == {
        "t1": "sub-01_T1w.nii.gz",
        "t1ce": "sub-01_ce-gd_T1w.nii.gz",
        "t2": "sub-01_T2w.nii.gz",
        "flair": "sub-01_FLAIR.nii.gz",
        "pet": "sub-01_trc-FDG_pet.nii.gz",
    }
    assert [visit.case for visit in visits] == ["sub-02_ses-a", "sub-02_ses-b"]
    assert {(visit.patient, visit.site) for visit in visits} == {("sub-02", "Århus")}


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("space-T2w_dseg", "t2"),
        ("dseg", "flair"),
        ("ce-gd_label-lesion_roi", "t1ce"),
        ("space-orig_label-lesion_mask", "flair"),
    ],
)
def test_label_maps_are_among_the_derivatives(tmp_path, name, modality):
    images = ("T2w", "FLAIR", "ce-gd_T1w")
    folder = dataset(
        tmp_path,
        *(f"sub-01/anat/sub-01_{image}.nii.gz" for image in images),
        derived=[
            f"sub-01/anat/sub-01_{name}.nii.gz",
            "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
            "sub-01/anat/sub-01_space-MNI152_dseg.nii.gz",
            "sub-01/anat/sub-01_desc-preproc_T2w.nii.gz",
        ],
    )
    (source,) = find(folder).sources
    assert len(source.images) == 3
    assert shown(source.labels) == {modality: f"sub-01_{name}.nii.gz"}


def test_what_oncoseg_predicted_is_never_the_truth(tmp_path):
    names = ("sub-01/anat/sub-01_T2w.nii.gz", "sub-01/anat/sub-01_dseg.nii.gz")
    for by, labelled in (("a reader", 1), ("oncoseg", 0)):
        folder = dataset(tmp_path / by, names[0], derived=names[1:], by=by)
        assert len(find(folder).sources[0].labels) == labelled


def test_labels_have_the_names_of_dseg_tsv(tmp_path):
    folder = dataset(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz")
    assert find(folder).description == {"name": "gliomas"}
    table = folder / "derivatives" / "masks" / "dseg.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("index\tname\n0\tbackground\n1\toedema\n2\tcore\n")
    assert find(folder).description["labels"] == {"oedema": 1, "core": 2}
    (folder / "desc-x_dseg.tsv").write_text("index\tname\n1\tcore\n")
    with pytest.raises(BadData, match="names other labels"):
        find(folder)
    (folder / "desc-x_dseg.tsv").write_text("index\tcolour\n1\tred\n")
    with pytest.raises(BadFile, match="lacks a column name"):
        find(folder)


def test_runs_are_refused_by_name(tmp_path):
    folder = dataset(tmp_path, *(f"sub-01/anat/sub-01_run-{run}_T1w.nii.gz" for run in (1, 2)))
    words = r"sub-01_run-2_T1w\.nii\.gz: case sub-01 has sub-01_run-1_T1w\.nii\.gz too as its t1"
    with pytest.raises(BadData, match=words):
        find(folder)


def test_without_its_description_it_is_no_bids(tmp_path):
    folder = dataset(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (folder / "dataset_description.json").unlink()
    with pytest.raises(BadData, match="laid out in none of the ways"):
        find(folder)
