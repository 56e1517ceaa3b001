"""Lesions over visits: simulated courses under a known motion, on slices of any thickness."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from oncoseg import Grid, Prediction, Task
from oncoseg.blocks.segments import lesions
from oncoseg.response.match import GONE, MERGED, SHOWN, SMALL, UNSEEN, Visit, boundary_ml, follow

SHAPE = (96, 96, 64)
REGIONS = {"whole": ("rim", "core"), "core": ("core",)}


def grid(spacing=(1.0, 1.0, 1.0), shape=SHAPE):
    """The same field of view in voxels of any size."""
    counts = tuple(round(size / step) for size, step in zip(shape, spacing))
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [40.0, 50.0, -30.0]
    return Grid(counts, affine)


def motion(angles=(4, -6, 9), shift=(5.0, -4.0, 3.0)):
    middle = (grid().affine @ [*((np.array(SHAPE) - 1) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = middle + shift - matrix[:3, :3] @ middle
    return matrix


def scan(balls, where, matrix=None):
    """A prediction: balls of (centre, radius) in mm of the present scan's first voxel axes.

    `matrix` takes points of the present scan to this one.
    """
    matrix = np.eye(4) if matrix is None else matrix
    index = np.indices(where.shape).reshape(3, -1)
    back = np.linalg.inv(grid().affine) @ np.linalg.inv(matrix) @ where.affine
    places = (back[:3, :3] @ index + back[:3, 3:]).T
    label = np.zeros(len(places), np.uint8)
    for value, ball in balls:
        centre, radius = ball[:3], ball[3]
        label[np.linalg.norm(places - centre, axis=1) <= radius] = value
    task = Task("toy", ("t1",), {"rim": 1, "core": 2}, REGIONS)
    probability = np.zeros((0, *where.shape), np.float16)
    return Prediction("case", task, where, label.reshape(where.shape), probability, ("t1",))


def tracks(visits, spacing=(1.0, 1.0, 1.0), *, wrong_mm=0.0, shape=SHAPE):
    """Tracks of visits of balls; all but the last visit moved, known but for `wrong_mm`."""
    made = []
    for number, balls in enumerate(visits):
        last = number == len(visits) - 1
        matrix = np.eye(4) if last else motion(shift=(5.0 - number, -4.0, 3.0))
        where = grid() if last else grid(spacing, shape)
        prediction = scan([(1, ball) for ball in balls], where, matrix)
        matrix = matrix.copy()
        matrix[0, 3] += 0 if last else wrong_mm
        made.append(Visit.of(prediction, matrix, 0.0 if last else max(1.0, wrong_mm)))
    return [one for one in follow(made) if one.region == "whole"]


def kinds(found):
    return [[(state.kind, len(state.lesions)) for state in one.states] for one in found]


A, B, C = (30, 30, 30, 9), (64, 30, 30, 7), (30, 66, 34, 6)
SPACINGS = pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 4.0), (2.0, 1.0, 3.0)])


@SPACINGS
@pytest.mark.parametrize("wrong_mm", [0.0, 2.0])
def test_each_lesion_is_found_again(spacing, wrong_mm):
    found = tracks([[A, B, C], [C, A, B]], spacing, wrong_mm=wrong_mm)
    assert [one.id for one in found] == ["whole A", "whole B", "whole C"]
    assert kinds(found) == [[(SHOWN, 1), (SHOWN, 1)]] * 3
    for one, ball in zip(found, (A, B, C)):
        true = 4 / 3 * math.pi * ball[3] ** 3 / 1000
        for state in one.states:
            assert state.volume == pytest.approx(true, abs=state.error)


@SPACINGS
def test_new_and_resolved(spacing):
    found = tracks([[A, B], [A, C]], spacing)
    assert kinds(found) == [
        [(SHOWN, 1), (SHOWN, 1)],
        [(SHOWN, 1), (GONE, 0)],
        [(GONE, 0), (SHOWN, 1)],
    ]


@SPACINGS
def test_growing_and_shrinking_stay_the_same_lesion(spacing):
    found = tracks([[A, B], [(30, 30, 30, 13), (65, 31, 30, 4)]], spacing)
    assert kinds(found) == [[(SHOWN, 1)] * 2] * 2
    assert found[0].states[1].volume > 2 * found[0].states[0].volume
    assert found[1].states[1].volume < 0.4 * found[1].states[0].volume


@SPACINGS
def test_a_lesion_that_splits_is_one_track_of_two(spacing):
    found = tracks([[(40, 40, 32, 14)], [(33, 40, 32, 6), (49, 40, 32, 5)]], spacing)
    assert kinds(found) == [[(SHOWN, 1), (SHOWN, 2)]]


@SPACINGS
def test_of_lesions_that_merge_the_largest_goes_on(spacing):
    before = [(33, 40, 32, 6), (49, 40, 32, 5)]
    found = tracks([before, [(33, 40, 32, 10), (46, 40, 32, 9)]], spacing)
    assert kinds(found) == [[(SHOWN, 1), (SHOWN, 1)], [(SHOWN, 1), (MERGED, 0)]]
    assert found[1].states[1].into == "whole A"


def test_merging_then_splitting_again():
    two = [(33, 40, 32, 6), (49, 40, 32, 5)]
    found = tracks([two, [(40, 40, 32, 15)], two])
    assert kinds(found)[0] == [(SHOWN, 1), (SHOWN, 1), (SHOWN, 2)]
    assert [state.kind for state in found[1].states] == [SHOWN, MERGED, MERGED]


def test_a_lesion_that_is_back_keeps_its_name():
    found = tracks([[A, B], [A], [A, B]])
    assert kinds(found) == [[(SHOWN, 1)] * 3, [(SHOWN, 1), (GONE, 0), (SHOWN, 1)]]


def test_names_stay_though_sizes_change_places():
    found = tracks([[A, B], [(30, 30, 30, 5), (64, 30, 30, 10)]])
    assert [one.states[1].lesions[0].name for one in found] == ["whole 2", "whole 1"]
    assert [one.id for one in found] == ["whole A", "whole B"]


def test_neighbours_are_not_made_one_by_an_error_of_alignment():
    near = [(40, 40, 32, 6), (54, 40, 32, 6)]
    assert kinds(tracks([near, near], wrong_mm=3.0)) == [[(SHOWN, 1)] * 2] * 2


def test_a_new_lesion_beside_a_known_one_is_new():
    found = tracks([[A], [A, (45, 30, 30, 4)]], wrong_mm=1.0)
    assert kinds(found) == [[(SHOWN, 1)] * 2, [(GONE, 0), (SHOWN, 1)]]


def test_a_small_lesion_missed_by_alignment_is_still_found():
    small = (40, 40, 32, 2.6)
    assert kinds(tracks([[small], [small]], wrong_mm=4.0)) == [[(SHOWN, 1)] * 2]


def test_what_is_too_small_to_be_a_lesion_is_neither_new_nor_gone():
    speck = (64, 30, 30, 1.6)
    assert kinds(tracks([[A, B], [A, speck]]))[1] == [(SHOWN, 1), (SMALL, 0)]
    assert kinds(tracks([[A, speck], [A, B]]))[1] == [(SMALL, 0), (SHOWN, 1)]


def test_what_the_other_scan_does_not_cover_is_neither_new_nor_gone():
    low = (96, 96, 40)  # the earlier scan ends 40 mm up
    high = (64, 64, 54, 6)
    found = tracks([[A], [A, high]], shape=low)
    assert kinds(found) == [[(SHOWN, 1)] * 2, [(UNSEEN, 0), (SHOWN, 1)]]
    cut = Visit.of(scan([(1, (30, 30, 30, 9)), (1, (64, 64, 2, 6))], grid()), np.eye(4))
    assert [one.cut for one in cut.lesions] == [False, True]


def test_lesions_of_nested_regions_are_matched_each_with_its_own():
    balls = [(1, A), (2, (30, 30, 30, 5)), (1, B)]
    last = scan(balls, grid())
    first = scan(balls, grid((1.0, 1.0, 3.0)), motion())
    found = follow([Visit.of(first, motion(), 1.0), Visit.of(last, np.eye(4))])
    assert [one.id for one in found] == ["whole A", "whole B", "core A"]
    assert kinds(found) == [[(SHOWN, 1)] * 2] * 3


def test_empty_visits():
    assert tracks([[], []]) == []
    assert kinds(tracks([[], [A]])) == [[(GONE, 0), (SHOWN, 1)]]
    assert kinds(tracks([[A], []])) == [[(SHOWN, 1), (GONE, 0)]]


def test_more_lesions_than_letters():
    many = [(x, y, 32, 3) for x in range(8, 90, 12) for y in range(8, 80, 12)]
    found = tracks([many, many])
    assert len(found) == len(many)
    assert [one.id for one in found][25:28] == ["whole Z", "whole AA", "whole AB"]
    assert kinds(found) == [[(SHOWN, 1)] * 2] * len(many)


def test_the_error_of_a_volume_is_half_its_boundary_voxels():
    cube = np.zeros((6, 6, 6), bool)
    cube[1:5, 1:5, 1:5] = True
    assert boundary_ml(cube, Grid(cube.shape, np.diag([1.0, 1, 5, 1]))) == pytest.approx(
        (64 - 8) * 5 / 2000
    )


def test_lesions_have_the_names_of_segments():
    prediction = scan([(1, A), (1, B)], grid())
    names = [one.name for one in Visit.of(prediction, np.eye(4)).lesions]
    assert names == [one.name for one in lesions(prediction)]
