import numpy as np
import pytest

from ibsi import GRID, MASK, MORPHOLOGY
from oncoseg import Case, Grid, Prediction, Task, build


def section(label, affine):
    task = Task("t", ("ct",), {"a": 1}, {"a": ("a",)}, (1.0,) * label.ndim, (8,) * label.ndim)
    none = np.zeros((0, *label.shape), np.float16)
    grid = Grid(label.shape, affine)
    prediction = Prediction("c", task, grid, label.astype(np.uint8), none, ("ct",))
    return build("findings", "shape")(prediction, Case("c", "c", {}))


def values(found, lesion="a 1"):
    return {row["name"]: row["value"] for row in found["rows"] if row["lesion"] == lesion}


def ball(radius, spacing):
    shape = tuple(int(2 * radius / step) + 5 for step in spacing)
    index = np.indices(shape).reshape(len(shape), -1).T - (np.array(shape) - 1) / 2
    return (((index * spacing) ** 2).sum(axis=1) <= radius**2).reshape(shape)


def test_the_digital_phantom_of_the_standard():
    """Its two pieces that touch by corners are one lesion; the reference values are of both."""
    found = section(MASK, GRID.affine)
    units = {row["name"]: row["unit"] for row in found["rows"]}
    measured = values(found)
    for name in ("maximum 3-D diameter", "surface area", "sphericity", "elongation", "flatness"):
        value, tolerance = MORPHOLOGY[name]
        assert measured[name] == pytest.approx(value, abs=tolerance)
    assert measured["equivalent diameter"] == pytest.approx((6 * 592 / np.pi) ** (1 / 3))
    assert units["surface area"] == "mm²"
    assert units["equivalent diameter"] == "mm"


@pytest.mark.parametrize(
    ("radius", "spacing", "roundness"),
    [
        (5, (1, 1, 1), 0.90),
        (20, (1, 1, 1), 0.92),
        (10, (1, 0.8, 1.5), 0.89),
        (20, (0.5, 0.5, 5), 0.81),
    ],
)
def test_a_ball_has_the_sphericity_that_the_method_tells(radius, spacing, roundness):
    measured = values(section(ball(radius, spacing), np.diag([*spacing, 1])))
    assert measured["equivalent diameter"] == pytest.approx(2 * radius, rel=0.02)
    assert measured["maximum 3-D diameter"] == pytest.approx(2 * radius, abs=max(spacing))
    assert measured["sphericity"] == pytest.approx(roundness, abs=0.01)
    assert measured["elongation"] == pytest.approx(1, abs=0.01)
    assert measured["flatness"] == pytest.approx(1, abs=0.05)


def test_a_box_is_as_long_and_as_flat_as_it_is():
    label = np.zeros((44, 24, 14))
    label[2:42, 2:22, 2:12] = 1
    measured = values(section(label, np.eye(4)))
    assert measured["elongation"] == pytest.approx(0.5, abs=0.01)
    assert measured["flatness"] == pytest.approx(0.25, abs=0.01)
    assert measured["surface area"] == pytest.approx(2 * (800 + 400 + 200), rel=0.05)
    assert measured["maximum 3-D diameter"] == pytest.approx(np.hypot(40, np.hypot(20, 10)), abs=1)


def test_each_lesion_has_its_own_and_crumbs_have_none():
    label = np.zeros((40, 12, 12))
    label[2:10, 2:10, 2:10] = 1
    label[20:32, 4:8, 4:8] = 1
    label[38, 5, 5] = 1
    found = section(label, np.eye(4))
    assert {row["lesion"] for row in found["rows"]} == {"a 1", "a 2"}
    assert values(found)["elongation"] == pytest.approx(1)
    assert values(found, "a 2")["elongation"] < 0.4


def test_empty_and_two_dimensions_are_said():
    found = section(np.zeros((8, 8, 8)), np.eye(4))
    assert (found["rows"], found["notes"]) == (
        [],
        ["No shape was measured: no lesion of 50 mm³ (2-D: mm² or px) was found."],
    )
    found = section(ball(10, (0.5, 0.5)), np.diag([0.5, 0.5, 1]))
    assert values(found) == {"equivalent diameter": pytest.approx(20, rel=0.01)}
    assert found["rows"][0]["unit"] == "mm"
    assert found["notes"] == ["Roundness was not measured: it is defined for volumes alone."]


def test_a_single_slice_has_no_number_that_is_none():
    label = np.zeros((12, 12, 3))
    label[2:10, 2:10, 1] = 1
    measured = values(section(label, np.eye(4)))
    assert measured["flatness"] == 0
    assert np.isfinite(list(measured.values())).all()
