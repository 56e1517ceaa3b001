import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.target_lesions import Measured, error, measured, recist_targets


def predict(label, spacing=(1.0, 1.0, 1.0), labels=None, affine=None):
    labels = labels or {"tumour": 1}
    task = Task("t", ("ct",), labels, {name: (name,) for name in labels})
    affine = np.diag([*spacing, 1.0]) if affine is None else affine
    empty = np.zeros((0, *label.shape), np.float16)
    grid = Grid(label.shape, affine)
    return Prediction("c", task, grid, label.astype(np.uint8), empty, ("ct",))


def report(prediction, spelling="recist"):
    section = build("findings", spelling)(prediction, Case("c", "c", {}))
    rows = {}
    for row in section["rows"]:
        rows.setdefault(row.get("lesion", ""), {})[row["name"]] = row["value"]
    return rows, " ".join(section["notes"])


def boxes(*parts, shape=(80, 80, 20)):
    """A label map with a box each: (value, start, sides)."""
    label = np.zeros(shape, np.uint8)
    for value, start, sides in parts:
        label[tuple(slice(a, a + n) for a, n in zip(start, sides))] = value
    return label


def ellipsoid(semi, angles, spacing, shift):
    """An ellipsoid (mm) turned by Euler angles, sampled at voxel centres; and its matrix A."""
    turn = Rotation.from_euler("xyz", angles).as_matrix()
    matrix = turn @ np.diag(1 / np.square(semi)) @ turn.T
    reach = np.sqrt(np.diag(np.linalg.inv(matrix)))  # half extent along each axis
    half = [int(np.ceil(far / step)) + 2 for far, step in zip(reach, spacing)]
    index = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in half], indexing="ij"), axis=-1)
    points = (index + shift) * spacing
    return np.einsum("...i,ij,...j->...", points, matrix, points) <= 1, matrix


def true_diameters(matrix, grid):
    """Of the acquired section through the middle: the slice axis being 0 leaves a minor of A."""
    plane = [axis for axis in range(3) if axis != slice_axis(grid)[0]]
    return 2 / np.sqrt(np.linalg.eigvalsh(matrix[np.ix_(plane, plane)]))


angle = st.floats(0, np.pi)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    semi=st.tuples(*[st.floats(9, 22)] * 3),
    angles=st.tuples(angle, angle, angle),
    spacing=st.tuples(st.floats(0.7, 1.4), st.floats(0.7, 1.4), st.floats(0.7, 3.5)),
    shift=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_ellipsoids_at_any_angle_within_a_voxel_diagonal(semi, angles, spacing, shift):
    mask, matrix = ellipsoid(semi, angles, spacing, shift)
    prediction = predict(mask, spacing)
    (one,) = measured(prediction, ["tumour"]).values()
    long, short = true_diameters(matrix, prediction.grid)
    assert abs(one.long - long) <= np.linalg.norm(spacing)
    assert abs(one.long - long) <= one.error
    # Where the section is nearly round, any line is the longest, and the perpendicular follows it.
    assert abs(one.short - short) <= np.linalg.norm(spacing)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    semi=st.tuples(st.floats(8, 20), st.floats(8, 20), st.floats(9, 14)),
    turn=angle,
    shift=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_the_error_bounds_what_thick_slices_leave_open(semi, turn, shift):
    """Slices of 5 mm miss the largest section by up to 2.5 mm."""
    spacing = (0.9, 0.9, 5.0)
    mask, matrix = ellipsoid(semi, (0, 0, turn), spacing, shift)
    prediction = predict(mask, spacing)
    (one,) = measured(prediction, ["tumour"]).values()
    assert one.slices >= 3
    assert abs(one.long - true_diameters(matrix, prediction.grid)[0]) <= one.error


def test_error_of_one_slice_is_the_size_itself_and_shrinks_with_slices():
    errors = [error(30.0, 1.4, n) for n in (1, 2, 3, 6, 100)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(31.4)
    assert errors[1] == pytest.approx(1.4 + 30 * (1 / np.sqrt(0.75) - 1))
    assert errors[-1] == pytest.approx(1.4, abs=0.01)
    assert error(30.0, 1.4, 0) == 1.4


def test_rows_sum_and_targets():
    label = boxes(
        (1, (5, 5, 5), (12, 16, 6)), (1, (40, 5, 5), (6, 8, 6)), (1, (5, 40, 5), (4, 9, 6))
    )
    rows, notes = report(predict(label))
    assert rows["tumour 1"]["long axis"] == pytest.approx(20)
    assert rows["tumour 2"]["long axis"] == pytest.approx(10)
    assert rows["tumour 3"]["status"] == "lesion below 10 mm, not measurable"
    assert rows["tumour 2"]["status"] == "measurable lesion, suggested target"
    assert rows[""]["sum of diameters"] == pytest.approx(30)
    assert rows[""]["suggested targets"] == "tumour 1, tumour 2"
    assert notes == ""


def test_without_an_organ_more_than_two_targets_are_doubted():
    label = boxes(*[(1, (5, start, 5), (12, 16, 6)) for start in (5, 30, 55)])
    rows, notes = report(predict(label))
    assert rows[""]["suggested targets"] == "tumour 1, tumour 2, tumour 3"
    assert "organs are not known" in notes
    rows, notes = report(predict(label), "recist:organ=lung")
    assert rows[""]["suggested targets"] == "tumour 1, tumour 2"
    assert notes == ""


def test_lines_are_where_they_are_drawn():
    section = build("findings", "recist")(
        predict(boxes((1, (5, 9, 7), (12, 16, 6)))), Case("c", "c", {})
    )
    row = next(row for row in section["rows"] if row["name"] == "long axis")
    ends = np.array(row["ends"])
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(row["value"])
    assert sorted(ends[:, 0]) == pytest.approx([4.5, 16.5])
    assert sorted(ends[:, 1]) == pytest.approx([8.5, 24.5])
    assert row["axis"] == 2
    assert row["slice"] in range(7, 13)


def test_nodes_count_by_their_short_axis():
    label = boxes(
        (2, (5, 5, 5), (40, 15, 6)), (2, (5, 40, 5), (40, 12, 6)), (2, (5, 60, 5), (20, 8, 6))
    )
    rows, _ = report(predict(label, labels={"tumour": 1, "lymph node": 2}))
    status = [rows[f"lymph node {n}"]["status"] for n in (1, 2, 3)]
    assert status[1:] == ["node below 15 mm, not measurable", "normal node (below 10 mm)"]
    assert status[0] == "measurable node, suggested target"
    assert rows[""]["sum of diameters"] == rows["lymph node 1"]["short axis"] >= 15
    plain = predict(boxes((1, (5, 5, 5), (40, 15, 6)), (1, (5, 40, 5), (14, 3, 6))))
    rows, _ = report(plain, "recist:nodes=tumour 2")
    assert rows["tumour 2"]["status"] == "normal node (below 10 mm)"
    assert rows["tumour 1"]["status"] == "measurable lesion, suggested target"
    assert "Option nodes: tumour 7" in report(plain, "recist:nodes=tumour 7")[1]


@pytest.mark.parametrize(("thick", "measurable"), [(5.0, True), (5.5, True), (7.0, False)])
def test_thick_slices_ask_for_twice_their_distance(thick, measurable):
    """A long axis of 12 mm: above 10 mm, above 11 mm, below 14 mm."""
    label = boxes((1, (5, 5, 5), (12, 1, 6)))
    found = measured(predict(label, (0.995, 1.0, thick)), ["tumour"])
    assert bool(recist_targets(found)) == measurable


def test_what_the_image_cuts_has_no_plain_diameter_and_is_no_target():
    for start in itertools.chain(((0, 5, 5), (5, 64, 5), (5, 5, 0))):
        rows, notes = report(predict(boxes((1, start, (12, 16, 6)))))
        assert rows["tumour 1"]["long axis"] == "at least 20.0"
        assert rows["tumour 1"]["status"] == "cut by the edge"
        assert "tumour 1: cut by the edge of the image" in notes
        assert "no measurable lesion" in notes


def test_of_nested_regions_the_whole_tumour_counts_and_of_an_organ_only_its_tumour():
    label = boxes((1, (5, 5, 5), (30, 30, 6)), (2, (10, 10, 6), (12, 16, 4)))

    def lesions(regions):
        task = Task("t", ("ct",), {"a": 1, "b": 2}, regions)
        return set(report(predict(label, labels={"a": 1, "b": 2}).but(task=task))[0]) - {""}

    assert lesions({"WT": ("a", "b"), "TC": ("b",)}) == {"WT 1"}
    assert lesions({"liver": ("a", "b"), "tumour": ("b",)}) == {"tumour 1"}
    assert lesions({"a": ("a",), "b": ("b",)}) == {"a 1", "b 1"}


def test_planes_slices_and_sizes_that_are_not_known_are_said():
    sagittal = predict(boxes((1, (3, 5, 5), (6, 16, 6)), shape=(12, 40, 20)), (6.0, 1.0, 1.0))
    assert "in the sagittal plane" in report(sagittal)[1]
    flat = boxes((1, (5, 5, 5), (12, 16, 1)))
    assert "tumour 1: seen in one slice only" in report(predict(flat))[1]
    assert "No tumour was found" in report(predict(boxes()))[1]
    assert "below 50 mm³" in report(predict(boxes((1, (5, 5, 5), (2, 2, 2)))))[1]
    image = boxes((1, (5, 5), (24, 32)), shape=(60, 60))
    assert report(predict(image, (1.0, 1.0)))[0] == {}
    assert "pixels have no known size" in report(predict(image, (1.0, 1.0)))[1]
    rows, notes = report(predict(image, (0.5, 0.5)))
    assert rows["tumour 1"]["long axis"] == pytest.approx(20)
    assert "distance of slices" in notes


def test_five_targets_the_largest_and_two_an_organ():
    def one(size, **options):
        return Measured(size, size, slices=5, thickness=1.0, **options)

    lesions = {f"l{n}": one(10.0 + n) for n in range(8)}
    assert recist_targets(lesions) == ("l7", "l6", "l5", "l4", "l3")
    lesions = {f"l{n}": one(10.0 + n, organ="liver") for n in range(8)}
    lesions |= {f"n{n}": one(30.0 + n, node=True) for n in range(3)}
    assert recist_targets(lesions) == ("n2", "n1", "l7", "l6")
