"""Write: what is written comes back, at the same place, whole or not at all."""

import itertools

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncoseg.case import Grid
from oncoseg.errors import BadData, BadFile
from oncoseg.read import read_volume
from oncoseg.write import write_volume

ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
GRID = Grid((3, 4, 5), np.array([[1.0, 0, 0, -7], [0, 2, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]]))


@settings(max_examples=96, deadline=None)
@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.floats(0.3, 6.0)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.floats(-0.6, 0.6),
)
def test_every_orientation_keeps_every_voxel_in_its_place(
    tmp_path_factory, orientation, spacing, origin, turn
):
    order, signs = orientation
    oblique = np.eye(3)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine = np.eye(4)
    affine[:3, :3] = (oblique @ np.diag(signs)[:, order]) * spacing
    affine[:3, 3] = origin
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = tmp_path_factory.mktemp("turn") / "a.nii.gz"
    back = read_volume(write_volume(path, array, Grid(array.shape, affine)))
    assert (back.array == array).all()
    assert np.abs(back.grid.affine - affine).max() <= 1e-4


def test_all_forty_eight_orientations_are_exact(tmp_path):
    assert len(ORIENTATIONS) == 48
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for number, (order, signs) in enumerate(ORIENTATIONS):
        affine = np.eye(4)
        affine[:3, :3] = np.diag(signs)[:, order] * (1.0, 0.5, 3.25)
        affine[:3, 3] = (10, -20.5, 30)
        back = read_volume(write_volume(tmp_path / f"{number}.nii", array, Grid((3, 4, 5), affine)))
        assert (back.grid.affine == affine).all()
        assert (back.array == array).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64", "float32"])
def test_types_are_kept(tmp_path, dtype):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    back = read_volume(write_volume(tmp_path / "a.nii.gz", array, GRID)).array
    assert back.dtype == dtype
    assert (back == array).all()


def test_bool_becomes_uint8(tmp_path):
    back = read_volume(write_volume(tmp_path / "a.nii.gz", np.ones((3, 4, 5), bool), GRID)).array
    assert back.dtype == np.uint8
    assert back.sum() == 60


def test_same_content_same_bytes(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    first = write_volume(tmp_path / "a.nii.gz", array, GRID).read_bytes()
    assert write_volume(tmp_path / "b.nii.gz", array, GRID).read_bytes() == first


def test_header_states_millimetres_and_both_codes(tmp_path):
    header = nibabel.load(write_volume(tmp_path / "a.nii", np.zeros((3, 4, 5)), GRID)).header
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_sheared_grids_are_kept_and_stated_by_the_sform_alone(tmp_path):
    affine = GRID.affine.copy()
    affine[0, 1] = 0.5
    path = write_volume(tmp_path / "a.nii", np.zeros((3, 4, 5)), Grid((3, 4, 5), affine))
    assert (read_volume(path).grid.affine == affine).all()
    assert int(nibabel.load(path).header["qform_code"]) == 0


@pytest.mark.parametrize("ending", ["png", "nii.gz"])
def test_pictures_come_back_in_two_dimensions(tmp_path, ending):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    back = read_volume(write_volume(tmp_path / f"a.{ending}", array, Grid((3, 4), np.eye(3))))
    assert (back.array == array).all()
    assert (back.grid.affine == np.eye(3)).all()


def test_what_png_cannot_hold_is_refused(tmp_path):
    with pytest.raises(BadFile, match=r"a\.png: cannot hold float32"):
        write_volume(tmp_path / "a.png", np.zeros((3, 4), np.float32), Grid((3, 4), np.eye(3)))
    scaled = Grid((3, 4), np.diag([2.0, 2, 1]))
    with pytest.raises(BadFile, match="grid other than pixels"):
        write_volume(tmp_path / "a.png", np.zeros((3, 4), np.uint8), scaled)


def test_wrong_shape_nan_and_unknown_endings_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(BadData, match="does not fit"):
        write_volume(tmp_path / "a.nii", np.zeros((3, 4, 6)), GRID)
    with pytest.raises(BadData, match="NaN"):
        write_volume(tmp_path / "a.nii", np.full((3, 4, 5), np.nan), GRID)
    with pytest.raises(BadFile, match=r"use \.nii\.gz"):
        write_volume(tmp_path / "a.mat", np.zeros((3, 4, 5)), GRID)
    assert list(tmp_path.iterdir()) == []


def test_spaces_and_accents_in_paths(tmp_path):
    path = tmp_path / "Étude 1" / "tête.nii.gz"
    assert read_volume(write_volume(path, np.ones((3, 4, 5)), GRID)).array.sum() == 60
