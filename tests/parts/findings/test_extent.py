import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build


def locate(label, affine, **options):
    task = Task("t", ("ct",), {"a": 1}, {"a": ("a",)})
    empty = np.zeros((0, *label.shape), np.float16)
    grid = Grid(label.shape, np.asarray(affine, float))
    prediction = Prediction("c", task, grid, label.astype(np.uint8), empty, ("ct",))
    rows = build("findings", "extent", **options)(prediction, Case("c", "c", {}))["rows"]
    return {row["name"]: row["value"] for row in rows}


def test_pieces_count_by_their_volume():
    label = np.zeros((20, 20, 20))
    label[1:5, 1:5, 1:5] = label[10, 10, 10] = label[11, 11, 11] = 1
    assert locate(label, np.eye(4))["components"] == 1
    assert locate(label, np.eye(4))["smaller components"] == 1  # two voxels that touch by a corner
    assert locate(label, np.eye(4), smallest=2)["components"] == 2
    assert locate(label, np.diag([3, 3, 3, 1]))["components"] == 2


def test_box_centre_and_side_in_patient_axes_however_stored():
    label = np.zeros((20, 30, 40))
    label[2:6, 10:12, 5:11] = 1
    flipped = np.array([[0, -1.0, 0, 100], [2, 0, 0, 0], [0, 0, 0.5, -7], [0, 0, 0, 1]])
    found = locate(label, flipped)
    assert found["extent right-left"] == pytest.approx(2)
    assert found["extent front-back"] == pytest.approx(8)
    assert found["extent head-foot"] == pytest.approx(3)
    assert [found[f"centre {axis}"] for axis in "RAS"] == pytest.approx([89.5, 7, -3.25])
    assert found["image side"] == "middle"  # the grid's middle is at 85.5
    assert locate(label, np.diag([4, 1, 1, 1]))["image side"] == "left"
    assert locate(label, np.diag([-4, 1, 1, 1]))["image side"] == "right"


def test_an_empty_region_has_no_place():
    assert locate(np.zeros((5, 5, 5)), np.eye(4)) == {"components": 0, "smaller components": 0}
