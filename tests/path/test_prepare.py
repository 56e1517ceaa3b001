"""Plans by rules, stores that read patches, splits by patient, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncoseg import phantom
from oncoseg.case import Grid, Volume
from oncoseg.errors import BadData, BadFile
from oncoseg.prepare import Plan, held_out, open_store, prepare, splits
from oncoseg.prepare.look import across
from oncoseg.prepare.plan import (
    Fingerprint,
    Normalisation,
    make_plan,
    normalisation,
    patch_and_strides,
)
from oncoseg.prepare.store import Stored
from runs import toy_data


@pytest.fixture
def world(tmp_path):
    """Six small labelled patients on disk."""
    task, cases = toy_data(tmp_path / "data", 0, 6, size=20)
    return task, cases, tmp_path


def prepared(world, **options):
    task, _, folder = world
    prepare(folder / "data", folder / "store", labels=task.labels, regions=task.regions, **options)
    return open_store(folder / "store")


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(9, 500)] * 3),
    st.tuples(*[st.floats(0.4, 6.0)] * 3),
    st.integers(24**3, 160**3),
)
def test_patches_fit_the_budget_and_divide_by_the_strides(shape, spacing, voxels):
    patch, strides = patch_and_strides(np.array(shape), np.array(spacing), voxels)
    factor = np.prod(strides, axis=0)
    assert (np.array(patch) % factor == 0).all()
    assert np.prod(patch) <= 1.2 * voxels or np.prod(patch) <= np.prod(np.maximum(factor, 8))
    assert (np.array(patch) / factor >= 1).all()
    assert len(strides) <= 5


def test_small_scans_are_seen_whole():
    fingerprint = Fingerprint([(35, 50, 35)] * 3, [(1.0, 1.0, 1.0)] * 3, {})
    task, _ = phantom.world(0, 1)
    plan = make_plan(task, fingerprint)
    assert all(length >= size for length, size in zip(plan.task.patch, (35, 50, 35)))


def test_thick_slices_are_not_halved_before_the_others_catch_up():
    _, strides = patch_and_strides(np.array([256, 256, 24]), np.array([0.8, 0.8, 5.0]), 128**3)
    assert strides[0] == (2, 2, 1)
    assert strides[1] == (2, 2, 1)


def test_how_far_across_a_structure_is_does_not_follow_from_its_size():
    labels = {"cube": 1, "sheet": 2, "none": 3}
    label = np.zeros((30, 30, 30), np.uint8)
    label[2:8, 2:8, 2:5] = 1
    label[1:29, 1:29, 20] = 2
    drawn = Volume(label, Grid(label.shape, np.diag([1.0, 1.0, 2.0, 1.0])), Path())
    found = across(drawn, labels)
    assert found == {"cube": pytest.approx(6.0), "sheet": pytest.approx(5.25)}
    rows, columns = np.ogrid[:99, :99]
    disc = (np.hypot(rows - 49, columns - 49) < 40).astype(np.uint8)
    drawn = Volume(disc, Grid(disc.shape, np.eye(3)), Path())
    assert across(drawn, {"disc": 1})["disc"] == pytest.approx(np.pi / 4 * 80, rel=0.02)


def test_units_that_mean_something_are_scaled_by_the_data_set():
    values = [np.linspace(-100, 200, 1000)]
    assert normalisation("ct", values).scheme == "dataset"
    assert normalisation("pet", values).scheme == "dataset"
    assert normalisation("flair", values).scheme == "image"
    scheme = normalisation("ct", values)
    image = np.array([[-5000.0, scheme.mean, 5000.0]], dtype=np.float32)
    found = scheme(image, np.ones(image.shape, bool))[0]
    assert found[1] == pytest.approx(0, abs=1e-6)
    assert found[0] == pytest.approx((scheme.low - scheme.mean) / scheme.deviation, rel=1e-4)


@pytest.mark.parametrize("scheme", ["unit", "zscore", "image"])
def test_what_lies_outside_a_scan_has_no_part_in_its_scale(scheme):
    image = np.array([[0.0, 0, 1000, 1010, 1020]], dtype=np.float32)
    present = image > 0
    found = Normalisation(scheme)(image, present)
    assert np.array_equal(found[present], Normalisation(scheme)(image[present], present[present]))
    assert not found[~present].any()


def test_a_plan_goes_through_json_and_an_edited_one_is_used(world):
    cases = prepared(world)
    folder = world[2]
    plan = Plan.read(folder / "store" / "plan.json")
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict())), folder) == plan
    edited = folder / "edited.json"
    replace(plan, task=replace(plan.task, spacing=(2.0, 2.0, 2.0))).write(edited)
    task, _, _ = world
    prepare(folder / "data", folder / "coarse", labels=task.labels, plan=edited)
    coarse = open_store(folder / "coarse")
    assert all(2 * a.shape[0] >= b.shape[0] > a.shape[0] for a, b in zip(coarse, cases))
    edited.write_text("{}")
    with pytest.raises(BadFile, match=r"edited\.json: is not a whole plan"):
        Plan.read(edited)


def test_a_patch_is_the_slice_of_the_whole(world):
    case = prepared(world)[0]
    box = (slice(3, 11), slice(0, 7), slice(5, 20))
    for name in ("image", "present", "label"):
        assert np.array_equal(case.read(name, box), case.read(name)[(slice(None), *box)])
    for region, points in case.points.items():
        row = list(world[0].regions).index(region) + int(world[0].exclusive)
        assert (case.read("label")[row][tuple(points.T)] > 127).all()


def test_a_case_without_its_record_is_not_there(world):
    cases = prepared(world)
    (cases[0].folder / "case.json").unlink()
    assert len(open_store(world[2] / "store")) == len(cases) - 1


def stored(name, patient, labeled=True):
    return Stored(None, {"case": name, "patient": patient, "labeled": labeled, "site": ""})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=3, max_size=30), st.integers(0, 5))
def test_no_patient_is_in_two_folds(owners, seed):
    cases = [stored(f"c{number}", f"p{owner}") for number, owner in enumerate(owners)]
    count = len(set(owners))
    folds = splits(cases, min(3, count), seed)
    assert sorted(name for fold in folds for name in fold) == sorted(case.id for case in cases)
    owner_of = {case.id: case.patient for case in cases}
    patients = [{owner_of[name] for name in fold} for fold in folds]
    assert sum(map(len, patients)) == count


def test_more_folds_than_patients_and_unknown_patients_are_refused():
    cases = [stored("a", "p"), stored("b", "p")]
    with pytest.raises(BadData, match="2 folds need as many labelled patients, but there are 1"):
        splits(cases, 2)
    with pytest.raises(BadData, match="no patient 'q' to hold out; there are p"):
        held_out(cases, 1, 0, ["q"])
    train, held = held_out([*cases, stored("c", "q")], 1, 0, ["p"])
    assert [case.id for case in train] == ["c"]
    assert [case.id for case in held] == ["a", "b"]


def test_the_same_image_under_two_names_is_refused(world):
    task, cases, folder = world
    phantom.write(replace(cases[0], id="twin", patient="twin"), folder / "data", layout="folders")
    with pytest.raises(BadData, match=r"cases twin and world_000 hold the same a image") as caught:
        prepare(folder / "data", folder / "store", labels=task.labels, regions=task.regions)
    assert "\n" not in str(caught.value)


def test_a_case_that_was_removed_is_not_trained_on(world):
    _, cases, folder = world
    phantom.write(replace(cases[0], id="twin", patient="twin"), folder / "data", layout="folders")
    with pytest.raises(BadData, match="hold the same"):
        prepared(world)
    shutil.rmtree(folder / "data" / "twin")
    assert [case.id for case in prepared(world)] == [case.id for case in cases]
    shutil.rmtree(folder / "data" / cases[1].id)
    assert [case.id for case in prepared(world)] == [case.id for case in cases if case != cases[1]]
    assert not list((folder / "store" / cases[1].id).iterdir())


@pytest.mark.parametrize(
    "asked",
    [
        {"labels": {"c1": 2, "c2": 1}},
        {"labels": {"c1": 1, "c2": 2}, "regions": {"all": ("c1", "c2")}},
        {"modalities": ("b",)},
    ],
    ids=str,
)
def test_a_plan_that_says_otherwise_than_the_user_is_refused(world, asked):
    prepared(world)
    data, path = world[2] / "data", world[2] / "store" / "plan.json"
    with pytest.raises(BadData, match=r"plan.json has the .*, and not .*; make them agree"):
        prepare(data, world[2] / "other", plan=path, **asked)
    prepare(data, world[2] / "other", plan=path, labels={"c1": 1, "c2": 2, "ignore": 9})


def test_an_edited_plan_may_lie_in_the_store_itself(world):
    first = prepared(world)[0].shape
    path = world[2] / "store" / "plan.json"
    plan = Plan.read(path)
    replace(plan, task=replace(plan.task, spacing=(2.0, 2.0, 2.0))).write(path)
    assert prepared(world, plan=path)[0].shape == tuple(round(size / 2) for size in first)
    assert Plan.read(path).task.spacing == (2.0, 2.0, 2.0)


def test_every_unreadable_case_is_named(world):
    _, cases, folder = world
    files = [next((folder / "data" / case.id).glob("a_image*")) for case in cases[1:3]]
    files[0].write_bytes(files[0].read_bytes()[:100])
    files[1].write_bytes(b"")
    with pytest.raises(BadData, match="2 of 6 cases cannot be used; mend or remove them") as caught:
        prepared(world)
    assert all(str(path) in str(caught.value) for path in files)
    assert not (folder / "store" / "plan.json").exists()


def test_channels_follow_names_not_places(world):
    task, _, folder = world
    options = {"labels": task.labels, "regions": task.regions}
    for order in (("a", "b"), ("b", "a")):
        prepare(folder / "data", folder / "-".join(order), modalities=order, **options)
    for one, other in zip(open_store(folder / "a-b"), open_store(folder / "b-a")):
        assert np.array_equal(one.read("image"), other.read("image")[::-1])
        assert not np.array_equal(one.read("image"), other.read("image"))
        assert one.record["shape"] == other.record["shape"]
    assert Plan.read(folder / "b-a" / "plan.json").task.modalities == ("b", "a")


def test_a_missing_modality_is_not_present_in_its_own_channel(tmp_path):
    task, cases = phantom.world(4, 4, size=16)
    lacking = replace(cases[1], images={"b": cases[1].images["b"]}, labels={})
    label = next(iter(cases[1].labels.values()))
    lacking = replace(lacking, labels={"b": label})
    for case in (cases[0], lacking, *cases[2:]):
        phantom.write(case, tmp_path / "data", layout="folders")
    prepare(tmp_path / "data", tmp_path / "store", labels=task.labels, regions=task.regions)
    case = open_store(tmp_path / "store")[1]
    assert case.record["modalities"] == ["b"]
    present, image = case.read("present"), case.read("image")
    assert not present[0].any()
    assert not image[0].any()
    assert present[1].all()


@pytest.mark.parametrize(
    "labels", [{"a": 1, "b": 1}, {"a": 300}, {"a": -1}, {"a": 1, "b": 2, "c": 256}], ids=str
)
def test_labels_that_a_label_map_cannot_tell_apart_are_refused(world, labels):
    with pytest.raises(BadData, match="labels are distinct numbers from 1 to 255"):
        prepare(world[2] / "data", world[2] / "store", labels=labels)


def test_a_region_of_unknown_labels_is_refused(world):
    task, _, folder = world
    with pytest.raises(BadData, match="region x is made of 'z', but the labels are c1, c2"):
        prepare(folder / "data", folder / "s", labels=task.labels, regions={"x": ("z",)})
    with pytest.raises(BadData, match="region x is made of no label; the labels are c1, c2"):
        prepare(folder / "data", folder / "s", labels=task.labels, regions={"x": ()})


def test_without_names_a_mask_of_255_is_a_tumour(tmp_path):
    _, cases = phantom.world(0, 3, size=16, classes=1)
    for case in cases:
        volume = next(iter(case.labels.values()))
        mask = replace(volume, array=volume.array * np.uint8(255))
        phantom.write(replace(case, labels={"a": mask}), tmp_path / "data", layout="folders")
    prepare(tmp_path / "data", tmp_path / "store")
    plan = Plan.read(tmp_path / "store" / "plan.json")
    assert dict(plan.task.labels) == {"tumour": 255}
    share = np.mean([case.read("label")[1].mean() / 255 for case in open_store(tmp_path / "store")])
    assert 0.01 < share < 0.5


def test_flat_and_solid_cases_do_not_mix(tmp_path):
    for dims, name in ((2, "flat"), (3, "solid")):
        task, cases = phantom.world(dims, 1, dims=dims, size=16)
        phantom.write(replace(cases[0], id=name, patient=name), tmp_path / "d", layout="folders")
    with pytest.raises(BadData, match="some cases are 2-D and some are 3-D"):
        prepare(tmp_path / "d", tmp_path / "s", labels=task.labels, regions=task.regions)


def test_a_label_outside_the_scheme_names_its_file(world):
    task, _, folder = world
    with pytest.raises(BadData, match=r"_mask\.nii\.gz: holds label 2, which is not in the scheme"):
        prepare(folder / "data", folder / "store", labels={next(iter(task.labels)): 1})
    assert not (folder / "store" / "plan.json").exists()
