import numpy as np
import pytest
from scipy.spatial.distance import pdist

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.blocks.calipers import corners, longest, perpendicular


def measure(label, affine):
    task = Task("t", ("ct",), {"a": 1}, {"a": ("a",)})
    empty = np.zeros((0, *label.shape), np.float16)
    prediction = Prediction(
        "c",
        task,
        Grid(label.shape, np.asarray(affine, float)),
        label.astype(np.uint8),
        empty,
        ("ct",),
    )
    section = build("findings", "diameters")(prediction, Case("c", "c", {}))
    return section, {row["name"]: row for row in section["rows"]}


def box(shape=(20, 30, 16), sides=(6, 8, 4)):
    label = np.zeros(shape)
    label[tuple(slice(3, 3 + side) for side in sides)] = 1
    return label


def test_a_box_is_measured_from_corner_to_corner():
    section, rows = measure(box(), np.diag([0.5, 1, 2, 1]))
    assert section["plane"] == "axial" or section["plane"] == "sagittal"
    rows = measure(box(), np.diag([1, 1, 1, 1]))[1]
    assert rows["longest diameter"]["value"] == pytest.approx(10)  # 6 and 8 mm
    assert rows["perpendicular"]["value"] == pytest.approx(
        6 * 10 / 8
    )  # chord at right angles to a diagonal
    assert rows["3-D diameter"]["value"] == pytest.approx(np.sqrt(36 + 64 + 16))


def test_it_does_not_depend_on_how_the_array_is_stored():
    want = [row["value"] for row in measure(box(), np.eye(4))[0]["rows"]]
    affine = np.array([[0, 0, -1, 5], [1, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]])
    turned = np.transpose(box(), (1, 2, 0))[:, ::-1]
    section, rows = measure(turned, affine)
    assert section["plane"] == "axial"
    assert rows["longest diameter"]["axis"] == 1
    assert [row["value"] for row in section["rows"]] == pytest.approx(want)


def test_thick_slices_say_which_plane_was_acquired():
    section, rows = measure(box(), np.diag([6, 1, 1, 1]))  # sagittal slices of 6 mm
    assert section["plane"] == "sagittal"
    assert rows["longest diameter"]["value"] == pytest.approx(np.hypot(8, 4))
    assert measure(box(), np.diag([1, 1, 6, 1]))[0]["plane"] == "axial"
    assert measure(box(), np.diag([1.2, 1, 1, 1]))[0]["plane"] == "axial"


def test_an_ellipsoid_within_a_voxel_turned_by_any_angle():
    turn = np.deg2rad(33)
    matrix = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    index = np.indices((70, 70, 30)).reshape(3, -1).T - [34.5, 34.5, 14.5]
    inside = (((index @ matrix) / [30, 18, 12]) ** 2).sum(axis=1) <= 1
    rows = measure(inside.reshape(70, 70, 30), np.eye(4))[1]
    assert rows["longest diameter"]["value"] == pytest.approx(60, abs=1.5)
    assert rows["perpendicular"]["value"] == pytest.approx(36, abs=1.5)
    assert rows["3-D diameter"]["value"] == pytest.approx(60, abs=1.5)
    (ax, ay), (bx, by) = rows["longest diameter"]["ends"]
    assert abs(np.arctan((by - ay) / (bx - ax)) - turn) < 0.1


def test_no_line_spans_two_lesions_but_diagonal_neighbours_are_one():
    label = np.zeros((40, 40, 3))
    label[2:5, 2:6, 1] = label[30:32, 30:32, 1] = 1
    rows = measure(label, np.eye(4))[1]
    assert rows["longest diameter"]["value"] == pytest.approx(5)
    assert rows["longest diameter"]["slice"] == 1
    rows = measure(np.eye(3)[:, :, None], np.eye(4))[1]
    assert rows["longest diameter"]["value"] == pytest.approx(np.hypot(3, 3))


def test_sheared_grids_are_measured_in_millimetres():
    affine = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rows = measure(box(sides=(6, 8, 4)), affine)[1]
    assert rows["longest diameter"]["value"] == pytest.approx(np.hypot(6 + 4, 8))


def test_empty_and_two_dimensional():
    assert [row["value"] for row in measure(np.zeros((4, 4, 4)), np.eye(4))[0]["rows"]] == [0, 0, 0]
    flat = np.zeros((9, 9))
    flat[2:5, 2:6] = 1
    section, rows = measure(flat, np.eye(3))
    assert [(row["name"], row["unit"]) for row in section["rows"]] == [
        ("longest diameter", "px"),
        ("perpendicular", "px"),
    ]
    assert rows["longest diameter"]["value"] == pytest.approx(5)


@pytest.mark.parametrize("seed", range(5))
def test_calipers_agree_with_brute_force(seed):
    chance = np.random.default_rng(seed)
    mask = chance.random((9, 7)) > 0.6
    points = corners(mask) * [1.3, 0.7]
    everything = np.concatenate(
        [
            np.argwhere(mask) + offset
            for offset in ([-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5])
        ]
    ) * [1.3, 0.7]
    value, ends = longest(points)
    assert value == pytest.approx(pdist(everything).max())
    across, chord = perpendicular(points, ends)
    assert np.linalg.norm(chord[1] - chord[0]) == pytest.approx(across)
    assert (chord[1] - chord[0]) @ (ends[1] - ends[0]) == pytest.approx(0, abs=1e-9)
    along = (ends[1] - ends[0]) / value
    normal = np.array([-along[1], along[0]])
    assert across <= np.ptp(everything @ normal) + 1e-9
