import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build


def predict(label, affine):
    task = Task("t", ("ct",), {"a": 1, "b": 2}, {"all": ("a", "b"), "b": ("b",)})
    empty = np.zeros((0, *label.shape), np.float16)
    return Prediction("c", task, Grid(label.shape, affine), label.astype(np.uint8), empty, ("ct",))


def test_voxels_times_volume_exactly_also_on_sheared_anisotropic_grids():
    label = np.zeros((9, 8, 7))
    label[2:5, 1:4, 3] = 1
    label[0, 0, 0] = 2
    affine = np.array([[0, 0.5, 0.1, 3], [-2.0, 0, 0, 4], [0, 0, 5, 5], [0, 0, 0, 1]])
    rows = build("findings", "volumes")(predict(label, affine), Case("c", "c", {}))["rows"]
    assert [(row["region"], row["unit"]) for row in rows] == [("all", "ml"), ("b", "ml")]
    assert [row["value"] for row in rows] == pytest.approx([10 * 5 / 1000, 5 / 1000])


def test_an_ellipsoid_has_its_volume_within_a_percent():
    spacing, radii = np.array([0.5, 1, 2]), np.array([20.0, 15, 30])
    index = np.indices((100, 50, 40)).reshape(3, -1).T - [49.5, 24.5, 19.5]
    label = ((index * spacing / radii) ** 2).sum(axis=1) <= 1
    prediction = predict(label.reshape(100, 50, 40), np.diag([*spacing, 1]))
    value = build("findings", "volumes")(prediction, Case("c", "c", {}))["rows"][0]["value"]
    assert value == pytest.approx(4 / 3 * np.pi * radii.prod() / 1000, rel=0.01)


@pytest.mark.parametrize(("size", "unit"), [(1.0, "px"), (0.5, "mm²")])
def test_two_dimensions_are_an_area(size, unit):
    row = build("findings", "volumes")(
        predict(np.ones((4, 3)), np.diag([size, size, 1])), Case("c", "c", {})
    )["rows"][0]
    assert (row["name"], row["unit"]) == ("area", unit)
    assert row["value"] == pytest.approx(12 * size**2)


def test_a_volume_has_its_interval_where_there_is_one():
    prediction = predict(np.ones((4, 3, 2)), np.eye(4)).but(
        intervals={"all": (0.02, 0.03)}, level=0.9
    )
    rows = build("findings", "volumes")(prediction, Case("c", "c", {}))["rows"]
    assert (rows[0]["low"], rows[0]["high"], rows[0]["level"]) == (0.02, 0.03, 0.9)
    assert "low" not in rows[1]
