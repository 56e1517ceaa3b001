"""Each check fails on the bad input it is for, says so, and passes on a good one."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build, phantom
from oncoseg.blocks.image_quality import foreground, noise, right_of_middle
from oncoseg.case import Volume
from oncoseg.model import Model
from oncoseg.prepare.plan import Normalisation, Plan

NEVER = (
    "Nothing says how unlike the training this is: the model does not know its training's scans."
)
PATIENT = phantom.patient(0, shape=(64, 72, 60), spacing=(2.6, 2.6, 2.6))
TASK = replace(phantom.TASK, spacing=(2.6, 2.6, 2.6))


def checked(images=None, label=None, grid=None, task=TASK, **changes):
    """Rows by name, and notes, of the phantom patient with something changed."""
    images = PATIENT.images if images is None else images
    label = PATIENT.drawn.array if label is None else label
    grid = grid or PATIENT.grid
    none = np.zeros((len(task.regions), *label.shape), np.float16)
    prediction = Prediction("c", task, grid, label.astype(np.uint8), none, tuple(images))
    case = Case("c", "c", images)
    section = build("findings", "checks")(prediction.but(**changes), case)
    return {row["name"]: row for row in section["rows"]}, section["notes"]


def changed(name, array=None, **grid):
    """The patient with another image in the place of one."""
    old = PATIENT.images[name]
    made = Volume(old.array if array is None else array, replace(old.grid, **grid), old.path)
    return {**PATIENT.images, name: made}


def moved(array, voxels):
    """Along the first axis, with air where it was."""
    air = np.zeros_like(array)
    air[voxels:] = array[:-voxels]
    return air


def test_a_good_scan_passes_every_check():
    rows, notes = checked()
    assert {row["verdict"] for row in rows.values()} == {"ok"}
    assert notes == [NEVER]
    assert rows["regions cut by the image"]["value"] == "none"
    assert rows["tumour covered by every image"]["value"] == 100
    assert rows["distance of slices"]["value"] == pytest.approx(2.6)
    assert rows["voxel length beside training"]["value"] == pytest.approx(1)
    assert rows["signal to noise of t1"]["value"] > 5


@pytest.mark.parametrize(
    ("face", "end"),
    [
        ((0,), "right"),
        ((-1,), "left"),
        ((slice(None), 0), "front"),
        ((slice(None), -1), "back"),
        ((slice(None), slice(None), 0), "foot"),
        ((slice(None), slice(None), -1), "head"),
    ],
)
def test_a_tumour_that_the_image_cuts(face, end):
    """The phantom's axes run to the left, back and head."""
    label = np.zeros_like(PATIENT.drawn.array)
    label[face] = 2
    rows, notes = checked(label=label)
    row = rows["regions cut by the image"]
    assert row["verdict"] == "check"
    assert end in row["value"].removeprefix("WT: ").split(", ")
    assert notes[0].startswith("The image ends within WT (")
    assert end in notes[0]


def test_an_image_that_ends_within_the_tumour():
    some = np.flatnonzero((PATIENT.drawn.array > 0).any(axis=(0, 1)))
    middle = int(some[len(some) // 2])
    old = PATIENT.images["flair"]
    share = (PATIENT.drawn.array[..., :middle] > 0).sum() / (PATIENT.drawn.array > 0).sum()
    shape = (*old.grid.shape[:2], middle)
    rows, notes = checked(changed("flair", old.array[..., :middle], shape=shape))
    assert rows["tumour covered by every image"]["value"] == pytest.approx(100 * share)
    assert f"flair covers {100 * share:.0f} % of what was found" in notes[0]


def test_thick_slices():
    affine = PATIENT.grid.affine @ np.diag([1, 1, 7 / 2.6, 1])
    grid = Grid(PATIENT.grid.shape, affine)
    images = {name: replace(one, grid=grid) for name, one in PATIENT.images.items()}
    rows, notes = checked(images, grid=grid)
    assert rows["distance of slices"]["value"] == pytest.approx(7)
    assert rows["voxel length beside training"]["value"] == pytest.approx(7 / 2.6)
    assert notes[0].startswith("Slices are 7 mm apart, more than the 5 mm of RECIST 1.1")
    assert notes[1].startswith("Voxels are up to 2.7 times as long as those of the training")


def test_axes_are_compared_by_the_patients_and_of_imported_models_as_they_fit_best():
    order = [2, 0, 1]  # slices first
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * [5, 1, 1]
    label = np.zeros((8, 30, 30))
    task = replace(TASK, spacing=(1, 1, 5))
    name = "voxel length beside training"
    assert checked({}, label, Grid(label.shape, affine), task)[0][name]["value"] == 1
    task = replace(TASK, spacing=(5, 1, 1))
    assert checked({}, label, Grid(label.shape, affine), task)[0][name]["value"] == 5
    model = {"imported_from": "nnU-Net v2"}
    assert checked({}, label, Grid(label.shape, affine), task, model=model)[0][name]["value"] == 1


def test_a_missing_sequence_is_a_failed_check_that_the_prediction_says_itself():
    rows, notes = checked(missing=("t2",))
    assert (rows["sequences missing"]["value"], rows["sequences missing"]["verdict"]) == (
        "t2",
        "check",
    )
    assert notes == [NEVER]


def test_one_file_given_twice():
    rows, notes = checked(changed("t2", PATIENT.images["flair"].array.copy()))
    assert rows["image given twice"]["value"] == "t2 and flair"
    assert notes[0] == "One image stands for t2 and flair: was a file given twice?"


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.full(PATIENT.grid.shape, 7), "t2 is constant, and shows nothing."),
        (PATIENT.drawn.array > 0, "t2 holds two values alone, as a label map does, which is no "),
    ],
)
def test_images_that_show_nothing(array, told):
    rows, notes = checked(changed("t2", array.astype(np.int16)))
    assert rows["range of t2"]["verdict"] == "check"
    assert notes[0].startswith(told)


def ball(shape=(60, 60, 40), **values):
    """A bright ball in air with noise."""
    index = np.indices(shape).reshape(len(shape), -1).T - (np.array(shape) - 1) / 2
    mask = ((index**2).sum(axis=1) <= 15**2).reshape(shape)
    rng = np.random.default_rng(0)
    array = np.where(mask, values["tissue"], values["air"]) + rng.normal(0, values["noise"], shape)
    return mask, array.astype(np.float32)


def one_image(name, array, mask, **changes):
    grid = Grid(array.shape, np.eye(array.ndim + 1) * 1.0)
    labels = {"a": 1}
    task = Task("t", (name,), labels, {"a": ("a",)}, (1.0,) * array.ndim, (8,) * array.ndim)
    return checked({name: Volume(array, grid, Path("x.nii"))}, mask, grid, task, **changes)


def test_units_that_cannot_be():
    mask, array = ball(tissue=1064, air=24, noise=10)
    rows, notes = one_image("ct", array + 400, mask)
    assert rows["range of ct"]["verdict"] == "check"
    assert "which are hardly HU" in notes[0]
    mask, array = ball(tissue=40, air=-1000, noise=10)
    assert one_image("ct", array, mask)[0]["range of ct"]["verdict"] == "ok"


def test_intensities_are_compared_with_the_training_where_they_mean_something():
    mask, array = ball(tissue=40, air=-1000, noise=10)
    rows, notes = one_image("ct", array, mask, model={"intensities_ct": "-20 to 180"})
    assert rows["median of ct"]["verdict"] == "ok"
    assert rows["median of ct"]["value"] == pytest.approx(40, abs=1)
    rows, notes = one_image("ct", array + 300, mask, model={"intensities_ct": "-20 to 180"})
    assert rows["median of ct"]["verdict"] == "check"
    assert "99 % of the training's lay from -20 to 180" in notes[0]
    rows, notes = one_image("ct", array, mask, model={"intensities_ct": "what to expect"})
    assert "median of ct" not in rows


def test_a_model_file_tells_the_range_of_its_training():
    scheme = Normalisation("dataset", -1024.0, 3.5e6, 40.0, 20.0)
    opened = SimpleNamespace(card={}, plan=Plan(TASK, {"image": scheme}), sha256="0")
    said = Model.described.fget(opened)
    assert said["intensities_image"] == "-1024 to 3.5e+06"
    array = np.full((8, 8), 5e6)
    array[0] = -1000
    rows, _ = one_image("image", array, array > 0, model=said)
    assert rows["median of image"]["verdict"] == "check"


@pytest.mark.parametrize(("deviation", "verdict"), [(10, "ok"), (30, "check")])
def test_the_signal_is_compared_with_the_noise(deviation, verdict):
    """A tenth, and under a third, of the signal: Rose's criterion asks for a fifth."""
    mask, array = ball(tissue=100, air=0, noise=deviation)
    rows, notes = one_image("t1", np.maximum(array, 0), mask)
    row = rows["signal to noise of t1"]
    assert row["verdict"] == verdict
    assert row["value"] == pytest.approx(100 / deviation, rel=0.1)
    assert (notes[0] != NEVER) == (verdict == "check")


@pytest.mark.parametrize("deviation", [1.0, 5.0, 20.0])
def test_noise_is_measured_within_five_percent_whatever_the_structure(deviation):
    mask, array = ball(tissue=300, air=0, noise=deviation)
    array += np.indices(array.shape)[0] * 3.0  # a ramp
    image = Volume(array, Grid(array.shape, np.eye(4)), Path("x"))
    assert noise(image, mask) == pytest.approx(deviation, rel=0.05)


def test_what_has_no_noise_is_said_so():
    mask, array = ball(tissue=100, air=0, noise=0)
    rows, notes = one_image("t1", array + mask * np.arange(60)[:, None, None], mask)
    assert "signal to noise of t1" not in rows
    assert notes[0] == "The noise of t1 is too low to be measured."


@pytest.mark.parametrize(("voxels", "side"), [(3, "left"), (0, "")])
def test_a_body_off_the_middle(voxels, side):
    images = PATIENT.images
    if voxels:
        images = {
            name: replace(one, array=moved(one.array, voxels)) for name, one in images.items()
        }
    rows, notes = checked(images)
    row = rows["body off the middle"]
    assert row["verdict"] == ("check" if voxels else "ok")
    if voxels:
        assert row["value"] == pytest.approx(voxels * 2.6, abs=1.5)
        assert f" mm to the {side} of the image's middle" in notes[0]


def test_where_half_of_a_body_lies_is_exact():
    mask = np.zeros((11, 4, 4), bool)
    mask[2:6] = True
    affine = np.diag([-2.0, 1, 1, 1])
    assert right_of_middle(mask, Grid(mask.shape, affine)) == pytest.approx((3.5 - 5) * -2)


def test_the_foreground_is_the_brighter_of_two_classes():
    mask, array = ball(tissue=100, air=10, noise=3)
    assert np.array_equal(foreground(array), mask)
    assert foreground(np.full((4, 4), 3)).all()


def test_images_that_are_gone_and_pixels_without_a_size_are_said_so():
    rows, notes = checked({})
    assert "range of t1" not in rows
    assert "Images were not checked: none is there any more." in notes
    rows, notes = one_image("image", np.arange(100.0).reshape(10, 10), np.eye(10))
    assert "Pixels were not compared with the training: their size is unknown." in notes
    assert "distance of slices" not in rows
    assert rows["regions cut by the image"]["value"] == (
        "a: end of axis 1, end of axis 2, start of axis 1, start of axis 2"
    )
