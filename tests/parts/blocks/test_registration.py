"""Registration: known motions are found again, and its figures tell a good one from a bad one."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from oncoseg.blocks.registration import assess, moved, register
from oncoseg.case import Grid, Volume
from oncoseg.errors import BadData, BadOption
from oncoseg.phantom import patient
from oncoseg.read import read_volume

pytest.importorskip("SimpleITK")


@cache
def head(seed):
    """A small one."""
    case = patient(seed, shape=(88, 104, 80), spacing=(2.0, 2.0, 2.0), modalities=["t1ce"])
    return case.images["t1ce"]


def motion(grid, angles, shift, stretch=1.0):
    """Turned by `angles` about the grid's middle, and shifted (mm)."""
    middle = (grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * stretch
    matrix[:3, 3] = middle + shift - matrix[:3, :3] @ middle
    return matrix


def later(volume, matrix, spacing=None):
    """The scan after a motion, on slices of another spacing, brighter to one side, with noise."""
    grid = volume.grid
    if spacing:
        ratio = np.array(spacing) / grid.spacing
        shape = tuple(int(size) for size in np.array(grid.shape) // ratio)
        grid = Grid(shape, grid.affine @ np.diag([*ratio, 1]))
    array, _ = moved(volume, grid, np.linalg.inv(matrix))
    array = array * np.linspace(0.85, 1.15, array.shape[0])[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.02 * array.max(), array.shape)
    return Volume((array + noise * (array > 0)).astype(np.float32), grid, volume.path)


def error(found, true, volume):
    """The largest distance (mm) between both over points of the body."""
    index = np.argwhere(volume.array > 0)[::97].T
    points = volume.grid.affine @ np.vstack([index, np.ones(index.shape[1])])
    return np.linalg.norm(((found - true) @ points)[:3], axis=0).max()


@pytest.mark.parametrize("spacing", [None, (2.0, 2.0, 5.0)])
def test_a_rigid_motion_is_found_to_less_than_a_voxel(spacing):
    scan = head(3)
    true = motion(scan.grid, (6, -9, 12), (8, -12, 6))
    moving = later(scan, true, spacing)
    found = register(scan, moving)
    assert error(found.matrix, true, scan) < 2
    assert found.likeness > 0.7
    assert found.overlap > 0.9
    assert found.residual_mm < 2
    assert found.information > assess(scan, moving, np.eye(4)).information
    assert not found.poor
    assert np.allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3))


def test_an_affine_stretch_is_found_and_the_same_again():
    scan = head(3)
    true = motion(scan.grid, (4, 0, -5), (4, 3, -5), 1.08)
    found, again = (register(scan, later(scan, true), kind="affine") for _ in range(2))
    np.testing.assert_allclose(found.matrix, again.matrix, atol=1e-4)
    assert error(found.matrix, true, scan) < 2


def test_another_head_is_less_alike_than_its_own():
    one, other = head(3), head(6)
    assert register(one, other).likeness < 0.7 * register(one, later(one, np.eye(4))).likeness


def test_what_shares_nothing_is_poor():
    rng, grid = np.random.default_rng(0), Grid((40, 40, 40), np.diag([4.0, 4, 4, 1]))
    ball = np.linalg.norm(np.indices(grid.shape) - 20.0, axis=0) < 15
    rod = (np.indices(grid.shape)[1:] // 4 == 5).all(axis=0)
    noise = rng.normal(1, 0.1, grid.shape)
    found = register(*(Volume(noise * mask, grid, Path("a.nii")) for mask in (ball, rod)))
    assert found.poor


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 4)])
def test_flat_scans_are_refused_with_their_file(shape):
    grid = Grid(shape, np.eye(len(shape) + 1))
    scan = Volume(np.random.default_rng(0).random(shape), grid, Path("flat.nii"))
    with pytest.raises(BadData, match=r"flat\.nii.*cannot be registered"):
        register(scan, scan)


def test_constant_scans_and_unknown_kinds_are_refused():
    scan = Volume(np.ones((20, 20, 20)), Grid((20, 20, 20), np.eye(4)), Path("one.nii"))
    with pytest.raises(BadData, match=r"one\.nii.*one value"):
        register(scan, scan)
    with pytest.raises(BadOption, match="rigid, affine"):
        register(scan, scan, kind="elastic")


def test_labels_on_voxels_are_copied_exactly_and_what_is_not_seen_is_told():
    label = np.zeros((10, 12, 9), np.uint8)
    label[2:5, 3:7, 1:4] = 4
    scan = Volume(label, Grid(label.shape, np.diag([1.0, 1, 3, 1])), Path("a.nii"))
    shift = np.eye(4)
    shift[2, 3] = 6.0
    found, covered = moved(scan, scan.grid, shift, order=0)
    assert found.dtype == np.uint8
    assert np.array_equal(found[:, :, :7], label[:, :, 2:])
    assert covered[:, :, :7].all()
    assert not covered[:, :, 7:].any()


def test_a_known_motion_of_a_real_scan(data):
    folder = data / "brats2021" / "BraTS2021_01657"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    scan = read_volume(folder / "BraTS2021_01657_t1ce.nii.gz")
    true = motion(scan.grid, (5, -8, 10), (6, -12, 8))
    found = register(scan, later(scan, true))
    assert error(found.matrix, true, scan) < 1
    assert found.likeness > 0.9
    other = read_volume(data / "brats2021/BraTS2021_01658/BraTS2021_01658_t1ce.nii.gz")
    assert register(scan, other).likeness < 0.5
