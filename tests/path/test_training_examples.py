"""Examples of a training: the slice that shows most, and outlines on it that stay short."""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.case import Task
from oncoseg.train.page import examples
from oncoseg.train.page.watch import chart

TASK = Task(
    "t", ("a",), {"x": 1, "y": 2}, {"x": ("x",), "xy": ("x", "y")}, (3.0, 1.0, 1.0), (8,) * 3
)


def test_an_example_is_the_slice_with_the_most_truth():
    label = np.zeros((6, 40, 40), dtype=np.uint8)
    label[4, 10:20, 10:20], label[2, 10:14, 10:14] = 1, 2
    image = np.random.default_rng(0).normal(size=(1, *label.shape)).astype(np.float32)
    example = examples.begun(image, np.ones(image.shape, bool), label, TASK)
    assert (example["axis"], example["index"]) == (0, 4)  # along the long side of voxels
    assert example["where"] == "sagittal slice 5 of 6, a"
    assert example["truth"]["x"] == example["truth"]["xy"] != ""
    example["seen"] = [[7, examples.drawn(0 * label, TASK, example)]]
    assert set(example["seen"][0][1].values()) == {""}
    assert examples.pictures({"c": example}, 7)["c"].shape[2] == 3
    assert examples.pictures({"c": example}, 8) == {}


def test_outlines_stay_short_however_wild_a_prediction_is():
    noise = np.random.default_rng(0).random((1, 700, 900)) > 0.5
    flat = replace(TASK, spacing=(1.0, 1.0), patch=(8, 8), strides=())
    image = np.zeros((1, 700, 900), dtype=np.float32)
    example = examples.begun(image, np.ones(image.shape, bool), noise[0].astype(np.uint8), flat)
    assert all(len(path) <= examples.LONGEST for path in example["truth"].values())
    assert example["size"] == [900, 700]
    empty = examples.begun(image, ~np.ones(image.shape, bool), noise[0] * np.uint8(0), flat)
    assert empty["truth"] == {"x": "", "xy": ""}


def test_outlines_are_read_back_as_they_were_drawn():
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:5, 3:7] = True
    (polygon,) = examples._polygons(examples._outline(mask))
    assert min(x for x, _ in polygon) == 6
    assert max(y for _, y in polygon) == 10


def test_pictures_are_given_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = np.zeros((4, 5, 3), dtype=np.uint8)
    chart(tmp_path, 3, {"dice": {"x": 0.5}}, {"a case": picture})
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert board.Tags()["images"] == ["examples/a case"]
    assert board.Scalars("dice/x")[0].value == 0.5
