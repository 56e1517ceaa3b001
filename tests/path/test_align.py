"""One grid by physical coordinates, and exactly back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from grids import ORIENTATIONS, oriented
from oncoseg.case import Case, Grid, Task, Volume
from oncoseg.errors import BadData
from oncoseg.prepare.align import align, covered, crop, resample, working_grid
from oncoseg.prepare.plan import Normalisation, Plan


def world_of(grid):
    """(3, *S) position of every voxel in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    return np.tensordot(grid.affine[:3, :3], index, 1) + grid.affine[:3, 3].reshape(3, 1, 1, 1)


def plan(spacing=(1.0, 1.0, 1.0), modalities=("a", "b")):
    task = Task("t", modalities, {"x": 1}, {"x": ("x",)}, spacing, (8, 8, 8), ((2, 2, 2),))
    return Plan(task, {name: Normalisation() for name in modalities})


ANGLES = st.tuples(*[st.floats(-40, 40)] * 3)
SIZES = st.tuples(*[st.integers(1, 9)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 6.0)] * 3)


def oblique(grid, angles):
    affine = grid.affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ affine[:3, :3]
    return Grid(grid.shape, affine)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ORIENTATIONS), SIZES, SPACINGS, ANGLES, st.data())
def test_there_and_back_is_exact_and_keeps_places(orientation, shape, spacing, angles, data):
    grid = oblique(oriented(shape, spacing, *orientation), angles)
    label = np.random.default_rng(0).integers(1, 200, shape).astype(np.uint8)
    marked = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    label[marked] = 255
    inside = working_grid(grid)
    assert sorted(inside.shape) == sorted(shape)
    for order in (0, 1):
        moved = resample(label, grid, inside, order=order)
        assert np.array_equal(resample(moved, inside, grid, order=order), label)
    (found,) = np.argwhere(moved == 255)
    assert np.allclose(inside.affine @ [*found, 1], grid.affine @ [*marked, 1], atol=1e-6)
    assert np.linalg.det(inside.affine[:3, :3]) > 0
    assert covered(grid, inside).all()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ORIENTATIONS), SPACINGS, ANGLES, ANGLES, st.tuples(*[st.floats(-6, 6)] * 3))
def test_a_finer_grid_at_any_angle_sees_the_ramp_exactly(orientation, old, turn, other, shift):
    source = oblique(oriented((9, 8, 7), old, *orientation), turn)
    slope = np.array([0.3, -0.7, 0.5]).reshape(3, 1, 1, 1)
    fine = (min(old) / 2,) * 3
    target = oblique(oriented((11, 12, 13), fine, (0, 1, 2), (1, 1, 1)), other)
    target.affine[:3, 3] += shift
    found = resample((slope * world_of(source)).sum(0), source, target)
    place = np.linalg.inv(source.affine) @ [*world_of(target).reshape(3, -1), np.ones(11 * 12 * 13)]
    centres = ((place[:3] >= 0) & (place[:3] <= np.array([[8], [7], [6]]))).all(0)
    expected = (slope * world_of(target)).sum(0).ravel()
    assert np.allclose(found.ravel()[centres], expected[centres], atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(SPACINGS, ANGLES, st.tuples(*[st.floats(-8, 8)] * 3))
def test_covered_is_within_the_outer_edges_and_nearest_labels_reach_them(spacing, angles, shift):
    source = oblique(oriented((5, 4, 6), (1.3, 2.0, 1.1), (1, 2, 0), (1, -1, 1)), angles)
    target = oriented((6, 7, 8), spacing, (0, 1, 2), (1, 1, 1), origin=source.affine[:3, 3] + shift)
    place = np.linalg.inv(source.affine) @ [*world_of(target).reshape(3, -1), np.ones(6 * 7 * 8)]
    far = np.maximum(-0.5 - place[:3], place[:3] - [[4.5], [3.5], [5.5]]).max(0)
    clear = np.abs(far) > 0.01
    assert np.array_equal(covered(source, target).ravel()[clear], (far < 0)[clear])
    label = np.random.default_rng(0).integers(1, 9, source.shape)
    found = resample(label, source, target, order=0).ravel()
    nearest = np.rint(place[:3]).astype(int).clip(0, [[4], [3], [5]])
    sure = clear & (np.abs(place[:3] % 1 - 0.5) > 0.01).all(0)
    expected = np.where(far < 0, label[tuple(nearest)], 0)
    assert np.array_equal(found[sure], expected[sure])


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_orientation_goes_to_ras_and_exactly_back(order, signs):
    grid = oriented((5, 6, 7), (1.0, 2.0, 3.0), order, signs, tilt=0.2)
    label = np.random.default_rng(0).integers(0, 5, grid.shape)
    inside = working_grid(grid)
    direction = inside.affine[:3, :3] / inside.spacing
    assert (np.diag(direction) > 0.9).all()
    moved = resample(label, grid, inside, order=0)
    assert np.array_equal(resample(moved, inside, grid, order=0), label)
    assert sorted(moved.ravel()) == sorted(label.ravel())
    assert np.allclose(
        np.sort(world_of(inside).reshape(3, -1)), np.sort(world_of(grid).reshape(3, -1))
    )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.floats(0.7, 3.0)] * 3),
    st.tuples(*[st.floats(0.7, 3.0)] * 3),
    st.floats(-0.3, 0.3),
)
def test_a_ramp_is_the_same_ramp_on_any_grid(orientation, old, new, tilt):
    grid = oriented((12, 13, 14), old, *orientation, tilt=tilt)
    slope = np.array([0.3, -0.7, 0.5]).reshape(3, 1, 1, 1)
    ramp = (slope * world_of(grid)).sum(0)
    target = working_grid(grid, tuple(new))
    found = resample(ramp, grid, target)
    expected = (slope * world_of(target)).sum(0)
    middle = tuple(slice(size // 3, size - size // 3) for size in target.shape)
    assert np.allclose(found[middle], expected[middle], atol=1e-2)


def test_the_field_of_view_is_kept_when_spacing_changes():
    grid = oriented((20, 30, 10), (1.0, 1.0, 3.0), (0, 1, 2), (1, -1, 1))
    target = working_grid(grid, (2.0, 2.0, 1.5))
    assert target.shape == (10, 15, 20)
    middle = [grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1] for grid in (grid, target)]
    assert np.allclose(middle[0], middle[1])


def test_modalities_on_other_grids_say_where_they_are():
    first = oriented((20, 20, 20), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1), origin=(0, 0, 0))
    second = oriented((5, 10, 10), (2.0, 2.0, 2.0), (0, 1, 2), (1, 1, 1), origin=(0.5, 0.5, 0.5))
    rng = np.random.default_rng(0)
    images = {
        "a": Volume(rng.normal(size=first.shape), first, Path("a")),
        "b": Volume(rng.normal(size=second.shape), second, Path("b")),
    }
    aligned = align(Case("c", "c", images), plan())
    assert aligned.grid.shape == (20, 20, 20)
    assert aligned.present[0].all()
    assert aligned.present[1, :10].all()
    assert not aligned.present[1, 10:].any()
    assert not aligned.image[1, 10:].any()
    assert np.array_equal(aligned.present[1], covered(second, aligned.grid))


def test_an_absent_modality_is_not_present_and_none_at_all_is_refused():
    grid = oriented((8, 8, 8), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
    volume = Volume(np.random.default_rng(0).normal(size=grid.shape), grid, Path("a"))
    aligned = align(Case("c", "c", {"a": volume}), plan())
    assert not aligned.present[1].any()
    with pytest.raises(BadData, match="case c has z, but the task needs at least one of a, b"):
        align(Case("c", "c", {"z": volume}), plan())


def test_cropping_keeps_every_voxel_that_is_not_air():
    grid = oriented((20, 20, 20), (1.0, 1.0, 1.0), (0, 1, 2), (-1, -1, 1))
    array = np.zeros(grid.shape)
    array[4:9, 2:17, 6:12] = 3
    case = Case("c", "c", {"a": Volume(array, grid, Path("a"))})
    cut = crop(case, grid, ["a"])
    assert cut.shape == (5, 15, 6)
    assert np.array_equal(resample(array, grid, cut), array[4:9, 2:17, 6:12].astype(np.float32))


def test_memberships_on_a_coarser_grid_keep_the_volume():
    grid = oriented((24, 24, 24), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
    label = np.zeros(grid.shape, dtype=np.uint8)
    label[7:16, 7:16, 7:16] = 1
    image = np.ones(grid.shape)
    volumes = {"a": Volume(image, grid, Path("a"))}
    case = Case("c", "c", volumes, {"a": Volume(label, grid, Path("l"))})
    aligned = align(case, plan((2.0, 2.0, 2.0), ("a",)))
    assert aligned.label.shape == (2, 12, 12, 12)
    assert aligned.label[1].sum() / 255 * 8 == pytest.approx(9**3, rel=0.02)
    assert np.abs(aligned.label.astype(int).sum(0) - 255).max() <= 1


def scan(array, origin=(0.0, 0.0, 0.0), name="a"):
    grid = oriented(array.shape, (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1), origin=origin)
    return Volume(array, grid, Path(f"{name}.nii.gz"))


def test_a_modality_that_lies_elsewhere_is_refused_not_ignored():
    array = np.random.default_rng(0).normal(size=(6, 6, 6))
    case = Case("c", "c", {"a": scan(array), "b": scan(array, (50.0, 0.0, 0.0), "b")})
    with pytest.raises(BadData, match=r"case c: b lies nowhere on a\.nii\.gz"):
        align(case, plan())
    finer = Volume(array, oriented((6, 6, 6), (0.5,) * 3, (0, 1, 2), (1, 1, 1)), Path("z.nii"))
    case = Case("c", "c", {"a": scan(array, (50.0, 0.0, 0.0)), "z": finer})
    with pytest.raises(BadData, match=r"case c: a lies nowhere on z\.nii"):
        align(case, plan())


def test_another_number_of_axes_is_refused():
    flat = Volume(np.ones((6, 6)), Grid((6, 6), np.eye(3)), Path("b.png"))
    with pytest.raises(BadData, match="case c is 2-D, but the task is 3-D"):
        align(Case("c", "c", {"b": flat}), plan())
    both = Case("c", "c", {"a": scan(np.ones((6, 6, 6))), "b": flat})
    with pytest.raises(BadData, match="case c is 2-D and 3-D, but the task is 3-D"):
        align(both, plan())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(ORIENTATIONS))
def test_no_voxel_of_the_body_is_lost(seed, orientation):
    rng = np.random.default_rng(seed)
    grid = oriented((9, 10, 11), (1.0, 2.0, 0.5), *orientation)
    images = {}
    for name in "ab":
        array = np.full(grid.shape, -1024.0)
        places = tuple(rng.integers(0, grid.shape, (4, 3)).T)
        array[places] = rng.uniform(1, 9, 4)
        images[name] = Volume(array, grid, Path(name))
    cut = crop(Case("c", "c", images), grid, ["a", "b"])
    for volume in images.values():
        kept = resample(volume.array, grid, cut)
        body = volume.array[volume.array > -1024]
        assert np.allclose(np.sort(kept[kept > -1024]), np.sort(body))


def test_a_label_in_no_region_is_background_of_exclusive_classes():
    grid = oriented((6, 6, 6), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
    label = np.zeros(grid.shape, dtype=np.uint8)
    label[0], label[1] = 1, 2
    image = {"a": Volume(np.random.default_rng(0).normal(size=grid.shape), grid, Path("a"))}
    case = Case("c", "c", image, {"a": Volume(label, grid, Path("l"))})
    task = Task("t", ("a",), {"x": 1, "y": 2}, {"y": ("y",)}, (1.0,) * 3, (4,) * 3, ((2,) * 3,))
    member = align(case, Plan(task, {"a": Normalisation()})).label
    assert np.array_equal(member[0] == 255, label != 2)
    assert np.array_equal(member[1] == 255, label == 2)
