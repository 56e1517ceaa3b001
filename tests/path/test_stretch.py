"""nnU-Net's way onto a grid and back: whole voxels in the field of view, slices apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from grids import oriented
from oncoseg.case import Case, Grid, Task, Volume
from oncoseg.errors import BadData, BadFile
from oncoseg.prepare.align import Relation, align
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.prepare.stretch import Stretch, new_shape, pinned, spread, stretched

TASK = Task("t", ("a",), {"x": 1}, {"x": ("x",)}, (2.0, 1.5, 0.8), (8, 8, 8), ((2, 2, 2),))
PLAN = Plan(TASK, {"a": Normalisation("zscore")}, 2, Stretch())


def case_of(array, grid, **others):
    volumes = {"a": Volume(array, grid, Path("a.nii.gz")), **others}
    return Case("c", "c", volumes)


def scan(spacing=(1.0, 1.0, 1.0), orientation=((0, 1, 2), (1, 1, 1)), shape=(12, 10, 14)):
    array = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    array[:2] = 0
    array[:, :, -3:] = 0
    return array, oriented(shape, spacing, *orientation)


def test_the_scan_is_cut_normalised_and_stretched_by_cubic_splines():
    array, grid = scan()
    found = align(case_of(array, grid), PLAN)
    cut = array[2:, :, :-3].transpose(2, 1, 0)
    assert found.image.shape[1:] == (6, 7, 12)  # 11, 10, 10 voxels of 1 mm in 2, 1.5, 0.8 mm
    values = ((cut - cut.mean()) / cut.std()).astype(np.float64)
    ratios = np.array(found.image.shape[1:]) / cut.shape
    expected = ndimage.zoom(values, ratios, order=3, mode="nearest", grid_mode=True)
    expected = expected.clip(values.min(), values.max())
    assert np.allclose(found.image[0], expected, atol=1e-5)
    assert found.present.all()


def test_the_grid_has_the_field_of_view_of_what_was_cut():
    array, grid = scan(orientation=((1, 0, 2), (-1, 1, 1)))
    found = align(case_of(array, grid), PLAN)
    relation = found.relation(grid)
    assert relation.axes == (2, 1, 0)
    ends = [relation.index(axis, size)[[0, -1]] for axis, size in enumerate(grid.shape)]
    sizes = [found.image.shape[1:][axis] for axis in relation.axes]
    inside = [((at >= -0.5) & (at <= size - 0.5)).tolist() for at, size in zip(ends, sizes)]
    assert inside == [[False, True], [True, True], [True, False]]


def test_turned_scans_come_as_if_they_had_been_stored_in_ras():
    array, grid = scan()
    plain = align(case_of(array, grid), replace(PLAN, stretch=Stretch(turned=True)))
    flipped = Grid(grid.shape, grid.affine @ np.diag([-1.0, 1, 1, 1]))
    turned = align(
        case_of(array[::-1].copy(), flipped), replace(PLAN, stretch=Stretch(turned=True))
    )
    own = align(case_of(array[::-1].copy(), flipped), PLAN)
    assert np.array_equal(plain.image, turned.image)
    assert not np.array_equal(plain.image, own.image)


def test_thick_slices_are_stretched_each_for_itself_and_then_the_nearest_taken():
    array = np.random.default_rng(0).normal(size=(4, 9, 9)).astype(np.float32)
    found = stretched(array, (6, 5, 5), order=3, alone=0)
    plane = [stretched(each, (5, 5), order=3) for each in array]
    assert np.array_equal(found, np.stack([plane[each] for each in (0, 1, 1, 2, 3, 3)]))
    rule = Stretch()
    assert rule.alone((5.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == 0
    assert rule.alone((1.0, 1.0, 1.0), (1.0, 1.0, 4.0)) == 2
    assert rule.alone((1.0, 4.0, 4.0), (1.0, 1.0, 1.0)) == -1
    assert rule.alone((3.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == -1


def test_splines_do_not_overshoot():
    array = np.zeros((9, 9, 9), np.float32)
    array[4:] = 1
    found = stretched(array, (25, 9, 9), order=3)
    assert (found.min(), found.max()) == (0, 1)


def test_a_flat_network_leaves_the_distance_of_slices():
    array, grid = scan(spacing=(1.0, 1.0, 7.0))
    found = align(case_of(array, grid), replace(PLAN, stretch=Stretch(flat=True)))
    assert found.image.shape[1:] == (11, 7, 12)


def test_the_way_back_is_linear_and_what_was_cut_off_is_outside():
    grid = oriented((6, 5, 4), (1.0, 1.0, 5.0), (0, 1, 2), (1, 1, 1))
    wide = spread(grid, (12, 5, 8))
    back = Relation.between(wide, grid, sharp=True, alone=2)
    assert not back.blur.any()
    assert np.allclose(back.index(0, 6), np.arange(6) * 2 + 0.5)
    assert np.array_equal(back.index(2, 4), [1, 3, 5, 7])
    assert back.border == 0.5


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (Normalisation("none"), [0, 50, 100]),
        (Normalisation("unit"), [0, 0.5, 1]),
        (Normalisation("bytes"), [0, 50 / 255, 100 / 255]),
        (Normalisation("zscore"), [-1.2247449, 0, 1.2247449]),
        (Normalisation("nonzero"), [0, -1, 1]),
        (Normalisation("dataset", 10, 90, 50, 20), [-2, 0, 2]),
    ],
)
def test_schemes_are_those_of_nnunet(scheme, expected):
    image = np.array([[0, 50, 100]], np.float32)
    assert np.allclose(scheme(image, image >= 0), [expected])


def test_a_mask_leaves_the_rest_at_nothing():
    image = np.array([[0, 50, 100]], np.float32)
    assert np.allclose(Normalisation("zscore", masked=True)(image, image > 0), [[0, -1, 1]])


def test_shapes_are_rounded_as_python_does():
    assert new_shape((5, 7, 9), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)) == (2, 4, 4)


def test_what_nnunet_could_not_have_seen_is_refused():
    array, grid = scan()
    two = replace(PLAN, task=replace(TASK, modalities=("a", "b")))
    two = replace(two, normalisation={name: Normalisation() for name in "ab"})
    with pytest.raises(BadData, match="lacks b"):
        align(case_of(array, grid), two)
    other = Volume(array, oriented(grid.shape, (2.0,) * 3, (0, 1, 2), (1, 1, 1)), Path("b.nii.gz"))
    with pytest.raises(BadData, match="several grids"):
        align(case_of(array, grid, b=other), two)
    with pytest.raises(BadData, match="nothing but 0"):
        align(case_of(np.zeros_like(array), grid), PLAN)
    with pytest.raises(BadData, match="0 to 255"):
        Normalisation("bytes")(array * 100, array > 0)


def test_a_plan_keeps_it_and_nonsense_is_refused(tmp_path):
    plan = replace(PLAN, stretch=Stretch((1, 0, 2), turned=True, order=1, apart=0.0))
    assert Plan.read(plan.write(tmp_path / "plan.json")) == plan
    for wrong in ({"axes": [0, 0, 1]}, {"axes": [0, 1, 2], "order": 9}, {"axes": 3}, {"ax": [0]}):
        with pytest.raises(BadFile, match="whole plan"):
            Plan.from_dict({**plan.as_dict(), "stretch": wrong}, tmp_path / "plan.json")


PINNED = Stretch((0, 1, 2), turned=True, order=1, apart=1e9, whole=True, pinned=True, late=True)


def test_pinned_voxels_start_at_the_first_one_and_are_exactly_as_long_as_wanted():
    array, grid = scan(shape=(11, 4, 7))
    plan = replace(PLAN, stretch=PINNED, task=replace(TASK, spacing=(2.0, 0.5, 1.0)))
    plan = replace(plan, normalisation={"a": Normalisation("none")})
    found = align(case_of(array, grid), plan)
    assert found.image.shape[1:] == (6, 7, 7)
    assert np.allclose(found.grid.affine[:3, 3], grid.affine[:3, 3])
    assert np.allclose(found.grid.spacing, (2, 0.5, 1))
    assert np.array_equal(found.image[0][:, ::2], array[::2])
    assert np.allclose(found.image[0][:, 1::2], (array[::2, :-1] + array[::2, 1:]) / 2, atol=1e-4)
    assert found.relation(grid).border == 1.0


def test_pinned_scans_run_as_their_signs_say_and_are_cropped_after_normalising():
    array = np.zeros((6, 5, 4), np.float32)
    array[1:3, 2:5, 0] = 50
    array[2, 2, 3] = -80
    grid = oriented((6, 5, 4), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
    rule = replace(PINNED, signs=(-1, -1, 1), own=True, cropped=True)
    schemes = {"a": Normalisation("dataset", -100, 100, -10, 10)}
    found = align(case_of(array, grid), replace(PLAN, stretch=rule, normalisation=schemes))
    kept = np.ones(array.shape, bool)
    kept[2, 2, 3] = False  # alone below the middle; the box holds it
    assert np.array_equal(found.image[0] > 0, kept[::-1, ::-1])
    none = replace(PLAN, stretch=rule, normalisation={"a": Normalisation("none")})
    assert align(case_of(array, grid), none).image.shape == (1, 2, 3, 1)
    empty = case_of(np.zeros_like(array), grid)
    with pytest.raises(BadData, match="case c holds nothing but 0"):
        align(empty, none)


def test_axes_a_rounding_away_from_right_angles_share_their_middle():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([0.7, 0.9, 3.0])
    exact, rounded = pinned(Grid((9, 8, 7), affine), (2.0, 2.0, 2.0)), affine.copy()
    assert np.allclose(exact.affine[:3, 3], 0)
    rounded[:3, :3] -= 1e-6 * np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    moved = pinned(Grid((9, 8, 7), rounded), (2.0, 2.0, 2.0))
    assert moved.shape == exact.shape
    middle = rounded @ [4.5, 4, 3.5, 1]
    assert np.allclose(moved.affine @ [*np.array(moved.shape) / 2, 1], middle)


def test_lengths_that_hardly_differ_stay():
    grid = oriented((6, 5, 4), (1.0004, 1.0, 2.0), (0, 1, 2), (1, 1, 1))
    assert pinned(grid, (1.0, 1.0, 2.0005)) is grid
    assert pinned(grid, (1.01, 1.0, 2.0)).spacing == pytest.approx((1.01, 1.0, 2.0))


def test_rules_are_checked_when_they_are_read():
    assert Stretch.from_dict({**vars(PINNED), "signs": [-1, 1, 1]}).signs == (-1, 1, 1)
    older = {"axes": [2, 1, 0], "turned": False, "flat": False, "order": 3, "apart": 3.0}
    assert Stretch.from_dict(older) == Stretch()
    with pytest.raises(ValueError, match="signs of 1 or -1"):
        Stretch.from_dict({**vars(PINNED), "signs": [2, 1, 1]})
