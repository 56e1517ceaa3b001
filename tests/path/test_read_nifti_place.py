"""NIfTI: where a scan lies, by sform, qform and units; noted where they disagree, or refused."""

import nibabel
import numpy as np
import pytest

from oncoseg.case import Grid
from oncoseg.read import read_volume
from oncoseg.write import write_volume
from scans import AFFINE, ARRAY, nii, refused


def test_sform_wins_else_qform_else_refused(tmp_path):
    other = AFFINE.copy()
    other[:3, 3] = 1, 2, 3
    image = nibabel.Nifti1Image(ARRAY, AFFINE)
    for codes, expected in (((1, 1), AFFINE), ((0, 1), other), ((2, 0), AFFINE)):
        image.set_sform(AFFINE, code=codes[0])
        image.set_qform(other, code=codes[1])
        (tmp_path / "a.nii").write_bytes(image.to_bytes())
        assert np.allclose(read_volume(tmp_path / "a.nii").grid.affine, expected)
    image.set_sform(AFFINE, code=0)
    image.set_qform(other, code=0)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    refused(tmp_path / "a.nii", "does not say how it lies")


def test_metres_and_micrometres_become_millimetres(tmp_path):
    for units, factor in (("meter", 1000), ("micron", 0.001), ("mm", 1)):
        path = nii(
            tmp_path / "a.nii",
            affine=np.diag([2 / factor, 2 / factor, 2 / factor, 1]),
            change=lambda header, units=units: header.set_xyzt_units(units),
        )
        assert np.allclose(read_volume(path).grid.spacing, 2)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0, 0, 0, 0], "singular"),
        ([2, 0, 2, 0], "singular"),
        ([0, 0, np.nan, 0], "not finite"),
        ([0, 0, 1, np.inf], "not finite"),
        ([0, 0, 1, 1e9], "absurdly large"),
    ],
)
def test_affines_without_a_place_are_refused(tmp_path, row, words):
    def change(header):
        header["srow_x"], header["srow_y"], header["srow_z"] = [1, 0, 1, 0], [0, 1, 0, 0], row

    refused(nii(tmp_path / "a.nii", change=change), words)


def test_a_spacing_of_nothing_is_refused(tmp_path):
    def change(header):
        header["sform_code"], header["qform_code"], header["pixdim"][2] = 0, 1, 0

    refused(nii(tmp_path / "a.nii", change=change), "spacing")


def test_a_two_dimensional_slice_across_the_body_keeps_its_place(tmp_path):
    affine = np.array([[0.0, 0, 5, 7], [1, 0, 0, 8], [0, 1, 0, 9], [0, 0, 0, 1]])
    volume = read_volume(nii(tmp_path / "a.nii", ARRAY[:, :, 0], affine))
    assert volume.array.shape == (6, 7, 1)
    assert (volume.grid.affine == affine).all()
    flat = Grid((6, 7), np.array([[2.0, 0, 3], [0, 2, 4], [0, 0, 1]]))
    back = read_volume(write_volume(tmp_path / "b.nii", ARRAY[:, :, 0], flat))
    assert (back.grid.affine == flat.affine).all()


def two_forms(path, sform, qform, codes=(1, 1)):
    image = nibabel.Nifti1Image(ARRAY, AFFINE)
    image.set_sform(sform, code=codes[0])
    image.set_qform(qform, code=codes[1])
    path.write_bytes(image.to_bytes())
    return path


def test_sform_and_qform_that_differ_are_noted_in_mm_and_degrees(tmp_path):
    angle = np.radians(3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = two_forms(tmp_path / "a.nii", turn @ AFFINE, AFFINE)
    volume = read_volume(path)
    assert np.allclose(volume.grid.affine, turn @ AFFINE, atol=1e-5)
    corner = max(
        np.linalg.norm((turn @ AFFINE - AFFINE) @ [i, j, k, 1])
        for i in (0, 5) for j in (0, 6) for k in (0, 4)
    )  # fmt: skip
    (note,) = volume.notes
    assert f"differ by up to {corner:.3g} mm and 3 degrees; the sform was taken" in note
    near = AFFINE + np.array([[0, 0, 0, 0.05]] * 3 + [[0] * 4])
    assert read_volume(two_forms(path, near, AFFINE)).notes == ()


def test_sform_and_qform_that_differ_by_a_flip_are_refused(tmp_path):
    mirrored, turned = np.diag([-1, 1, 1, 1]) @ AFFINE, np.diag([-1, -1, 1, 1]) @ AFFINE
    refused(two_forms(tmp_path / "a.nii", mirrored, AFFINE), "differ by a flip")
    refused(two_forms(tmp_path / "a.nii", turned, AFFINE), "differ by a flip")
    only = two_forms(tmp_path / "a.nii", mirrored, AFFINE, codes=(1, 0))
    assert np.allclose(read_volume(only).grid.affine, mirrored)


def test_a_qform_of_nonsense_is_noted_where_there_is_an_sform(tmp_path):
    def change(header):
        header["sform_code"], header["qform_code"], header["quatern_b"] = 1, 1, 3

    assert (
        "its qform makes no sense" in read_volume(nii(tmp_path / "a.nii", change=change)).notes[0]
    )

    def alone(header):
        change(header)
        header["sform_code"] = 0

    refused(nii(tmp_path / "a.nii", change=alone), "broken qform")


@pytest.mark.parametrize("spacing", [1e-5, 101.0])
def test_spacings_of_no_scan_are_refused(tmp_path, spacing):
    refused(nii(tmp_path / "a.nii", affine=np.diag([1, spacing, 1, 1])), "spacing")


def test_metres_written_as_millimetres_are_noted(tmp_path):
    volume = read_volume(nii(tmp_path / "a.nii", affine=np.diag([1e-3, 1e-3, 2e-3, 1])))
    assert "were metres written for mm" in volume.notes[0]


def test_a_sheared_grid_is_read_with_a_note(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 1.0
    volume = read_volume(
        nii(tmp_path / "a.nii", affine=affine, change=lambda h: h.__setitem__("qform_code", 0))
    )
    assert volume.grid.sheared
    assert (volume.grid.affine == affine).all()
    assert "not at right angles" in volume.notes[0]
