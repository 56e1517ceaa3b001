"""NRRD: its axes, its frame and its channels, or refused."""

import bz2

import nrrd
import numpy as np
import pytest

from oncoseg.read import read_channels, read_volume
from scans import ARRAY, TURNED, refused


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
def test_nrrd_axes_are_the_files_and_the_frame_is_ras(tmp_path, encoding, space):
    path = tmp_path / "a.nrrd"
    header = {
        "space": space,
        "space directions": np.array([[0, 1.0, 0], [-2, 0, 0], [0, 0, 3]]),
        "space origin": [1, 2, 3],
        "encoding": encoding,
    }
    nrrd.write(str(path), ARRAY, header)
    volume = read_volume(path)
    assert (volume.array == ARRAY).all()
    flip = np.diag([-1, -1, 1, 1]) if space.startswith("left") else np.eye(4)
    assert (volume.grid.affine == flip @ np.diag([-1, -1, 1, 1]) @ TURNED).all()
    path.write_bytes(path.read_bytes()[:-5])
    refused(path, "truncated")


def test_nrrd_without_a_patient_space_is_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), ARRAY, {"spacings": [1, 2, 3]})
    refused(tmp_path / "a.nrrd", "no patient space")


def test_nrrd_channels(tmp_path):
    header = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([[np.nan] * 3, np.eye(3)]),
        "space origin": [0, 0, 0],
        "kinds": ["vector", "domain", "domain", "domain"],
    }
    nrrd.write(str(tmp_path / "a.nrrd"), np.stack([ARRAY, ARRAY + 1]), header)
    refused(tmp_path / "a.nrrd", "holds 2 images")
    assert (read_channels(tmp_path / "a.nrrd")[1].array == ARRAY + 1).all()


def test_nrrd_data_file_of_bzip2_must_be_whole(tmp_path):
    packed = bz2.compress(ARRAY.tobytes(order="F"))
    header = (
        "NRRD0005\ntype: int16\ndimension: 3\nsizes: 6 7 5\nendian: little\nencoding: bzip2\n"
        "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
        "data file: v.bz2\n"
    )
    (tmp_path / "a.nhdr").write_text(header)
    refused(tmp_path / "a.nhdr", "v.bz2, which is missing")
    (tmp_path / "v.bz2").write_bytes(packed)
    assert (read_volume(tmp_path / "a.nhdr").array == ARRAY).all()
