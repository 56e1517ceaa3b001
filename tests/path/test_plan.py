"""Rules a person can read decide a plan; a plan that was edited wrongly is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncoseg.case import Task
from oncoseg.errors import BadFile
from oncoseg.prepare.plan import (
    Fingerprint,
    Normalisation,
    Plan,
    make_plan,
    normalisation,
    patch_and_strides,
)

TASK = Task("t", ("ct", "t1"), {"x": 1, "y": 3}, {"x": ("x",), "y": ("y",)})
PLAN = Plan(
    replace(TASK, spacing=(1.0, 1.5, 2.0), patch=(16, 24, 32), strides=((2, 2, 1), (2, 2, 2))),
    {"ct": Normalisation("dataset", -100.0, 200.0, 40.0, 20.0), "t1": Normalisation()},
    batch=3,
)


def planned(shapes, spacings, **options):
    return make_plan(TASK, Fingerprint(shapes, spacings, {}), **options)


def test_spacing_is_the_median_or_the_finer_tenth_of_a_coarse_axis():
    even = planned([(100, 100, 50)] * 3, [(0.9, 0.9, 1.0), (1.0, 1.0, 1.5), (1.1, 1.1, 2.0)])
    assert even.task.spacing == (1.0, 1.0, 1.5)
    thick = [(1.0, 1.0, length) for length in np.linspace(3.0, 8.0, 11)]
    assert planned([(100, 100, 50)] * 11, thick).task.spacing == (1.0, 1.0, 3.5)


def test_a_large_scan_is_seen_in_a_patch_of_the_budget():
    plan = planned([(512, 512, 400)] * 3, [(1.0, 1.0, 1.0)] * 3)
    assert plan.task.patch == (96, 96, 96)
    assert plan.task.spacing == (1.0, 1.0, 1.0)
    assert plan.task.strides == ((2, 2, 2),) * 3 + ((2, 2, 2),)
    assert plan.batch == 2


def test_where_time_is_short_scans_are_seen_coarsely_but_at_most_three_times():
    shapes, spacings = [(200, 200, 60)] * 3, [(1.0, 1.0, 3.0)] * 3
    plan = planned(shapes, spacings, voxels=48**3)
    here = np.array(plan.task.spacing)
    scan = np.prod(np.array([200, 200, 180]) / here)
    assert here[0] == here[1] > 1.0
    assert here[2] == 3.0
    assert 0.9 * 4 * 48**3 < scan <= 4 * 48**3
    huge = planned([(2000, 2000, 2000)] * 3, [(1.0, 1.0, 1.0)] * 3, voxels=32**3)
    assert huge.task.spacing == pytest.approx((3.0, 3.0, 3.0), rel=0.03)


def test_structures_of_pictures_are_twenty_pixels_across():
    task = replace(TASK, spacing=(1.0, 1.0), patch=(64, 64), strides=((2, 2),))
    shapes, spacings = [(256, 256)] * 3, [(1.0, 1.0)] * 3

    def spacing(across, **options):
        sizes = Fingerprint(shapes, spacings, {}, across)
        return make_plan(task, sizes, **options).task.spacing

    polyps = {"x": [40.0, 60.0, 200.0]}
    assert spacing(polyps, voxels=128**2) == (3.0, 3.0)
    assert spacing(polyps) == (3.0, 3.0)  # also where there is time
    assert spacing({**polyps, "y": [8.0, 10.0]}, voxels=128**2) == (1.0, 1.0)
    three = Fingerprint([(64, 64, 64)], [(1.0, 1.0, 1.0)], {}, {"x": [60.0]})
    assert make_plan(TASK, three, voxels=48**3).task.spacing == (1.0, 1.0, 1.0)


def test_small_patches_come_many_to_a_batch_but_no_more_than_eight():
    small = planned([(16, 16, 16)], [(1.0, 1.0, 1.0)])
    assert small.batch == 8
    middle = planned([(64, 64, 96)], [(1.0, 1.0, 1.0)])
    assert middle.batch == 2 * 96**3 // int(np.prod(middle.task.patch))


def test_a_hippocampus_is_covered_and_halved_while_eight_voxels_are_left():
    patch, strides = patch_and_strides(np.array([35.0, 50.0, 35.0]), np.ones(3), 96**3)
    assert all(length >= size for length, size in zip(patch, (35, 50, 35)))
    assert strides == ((2, 2, 2),) * 3
    assert all(length % 8 == 0 for length in patch)
    assert np.prod(patch) < 2 * 35 * 50 * 35


def test_thick_slices_are_halved_once_the_others_have_caught_up():
    _, strides = patch_and_strides(np.array([256, 256, 24]), np.array([0.8, 0.8, 5.0]), 128**3)
    # 0.8 -> 1.6 -> 3.2 mm: then twice the finest exceeds 5 mm.
    assert strides[:3] == ((2, 2, 1), (2, 2, 1), (2, 2, 2))


def test_two_axes_give_two_axes():
    task = Task("t", ("red",), {"x": 1}, {"x": ("x",)}, (1.0, 1.0), (64, 64), ((2, 2),))
    plan = make_plan(task, Fingerprint([(300, 200)], [(1.0, 1.0)], {}), voxels=128**2)
    assert plan.task.dims == 2
    assert plan.task.patch == (128, 128)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(1, 400)] * 3), min_size=1, max_size=4),
    st.tuples(*[st.floats(0.3, 8.0)] * 3),
)
def test_every_plan_survives_json_and_passes_its_own_check(shapes, spacing):
    plan = planned(shapes, [spacing] * len(shapes), voxels=48**3)
    found = Plan.from_dict(json.loads(json.dumps(plan.as_dict())), "plan.json")
    assert found == plan
    assert (np.array(plan.task.patch) % np.prod(plan.task.strides, axis=0) == 0).all()


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("ct", "dataset"), ("pet", "dataset"), ("suv", "dataset"), ("adc", "dataset")]
    + [(name, "image") for name in ("t1", "t2", "flair", "red", "spectral", "petechial")],
)
def test_names_say_whether_a_unit_means_something(name, scheme):
    assert normalisation(name, [np.linspace(-50, 50, 99)]).scheme == scheme


def test_an_absolute_unit_without_a_single_labelled_voxel_falls_back_to_the_image():
    assert normalisation("ct", []).scheme == "image"


def test_dataset_scheme_is_clip_and_scale_by_hand():
    scheme = normalisation("ct", [np.arange(1001.0)])
    assert (scheme.low, scheme.high, scheme.mean) == (5.0, 995.0, 500.0)
    inside = np.clip(np.arange(1001.0), 5, 995)
    assert scheme.deviation == pytest.approx(inside.std(), abs=1e-4)
    image = np.array([-2000.0, 5.0, 500.0, 995.0, 9000.0], np.float32)
    found = scheme(image, np.array([True, True, True, True, False]))
    edge = 495 / inside.std()
    assert found == pytest.approx([-edge, -edge, 0, edge, 0], abs=1e-4)


def test_image_scheme_is_zero_mean_over_the_body_and_zero_elsewhere():
    rng = np.random.default_rng(0)
    image = np.zeros((10, 10, 10), np.float32)
    image[2:8] = rng.normal(300, 50, (6, 10, 10))
    present = np.ones(image.shape, bool)
    present[7:] = False
    found = Normalisation()(image, present)
    body = found[2:7]
    assert body.mean() == pytest.approx(0, abs=1e-4)
    assert body.std() == pytest.approx(1, abs=1e-4)
    assert not found[:2].any()
    assert not found[7:].any()
    again = Normalisation()(image * 3.5, present)  # units do not matter
    assert np.allclose(found, again, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_is_no_division_by_zero(value):
    image = np.full((4, 4, 4), value, np.float32)
    assert not Normalisation()(image, np.ones(image.shape, bool)).any()


def without(name):
    data = PLAN.as_dict()
    del data[name]
    return data


def with_task(**changes):
    data = PLAN.as_dict()
    return {**data, "task": {**data["task"], **changes}}


def with_scheme(**changes):
    return {**PLAN.as_dict(), "normalisation": {"ct": {"scheme": "image", **changes}, "t1": {}}}


BROKEN = {
    "no task": (without("task"), "it lacks 'task'"),
    "no schemes": (without("normalisation"), "it lacks 'normalisation'"),
    "no batch": (without("batch"), "it lacks 'batch'"),
    "a list": ([], "not a whole plan"),
    "text": ("plan", "not a whole plan"),
    "labels as a list": (with_task(labels=["x"]), "not a whole plan"),
    "two axes of three": (with_task(patch=[16, 16]), "axes alike"),
    "a stride of two axes": (with_task(strides=[[2, 2]]), "axes alike"),
    "no spacing": (with_task(spacing=[]), "axes alike"),
    "zero spacing": (with_task(spacing=[0, 1, 1]), "above 0"),
    "a tiny spacing": (with_task(spacing=[1e-9, 1, 1]), "from 0.001 to 1000"),
    "a negative patch": (with_task(patch=[-16, 16, 16]), "above 0"),
    "a batch of none": ({**PLAN.as_dict(), "batch": 0}, "above 0"),
    "a modality without scheme": (with_task(modalities=["ct", "t2"]), "needs a normalisation"),
    "another scheme": (with_scheme(scheme="percentile"), "one of image, dataset"),
    "another key of a scheme": (with_scheme(sigma=1), "sigma"),
    "no deviation": (with_scheme(deviation=0.0), "deviation must be above 0"),
    "a region of nothing": (with_task(regions={"x": ["z"]}), "made of the labels"),
    "a label too large": (with_task(labels={"x": 1, "y": 256}), "from 1 to 255"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plan_is_one_sentence_that_names_the_file(tmp_path, fault):
    content, sentence = BROKEN[fault]
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadFile, match=r"edited\.json: is not a whole plan") as caught:
        Plan.read(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_that_is_no_json_says_where_it_breaks_off(tmp_path):
    path = PLAN.write(tmp_path / "plan.json")
    assert Plan.read(path) == PLAN
    path.write_text(path.read_text()[:-20])
    with pytest.raises(BadFile, match=r"plan\.json: is not valid JSON \(line \d+"):
        Plan.read(path)
    with pytest.raises(BadFile, match=r"none\.json: does not exist"):
        Plan.read(tmp_path / "none.json")
