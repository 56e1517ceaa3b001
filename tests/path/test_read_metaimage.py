"""MetaImage: its axes, its frame and its channels, or refused."""

import zlib

import numpy as np
import pytest

from oncoseg.read import read_channels, read_volume
from scans import ARRAY, TURNED, refused


def mha(path, array=ARRAY, *, packed=False, raw="", **changes):
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "CompressedData": packed,
        "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "1 2 3",
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": "MET_SHORT",
        **changes,
        "ElementDataFile": raw or "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
    content = array.tobytes(order="F")
    content = zlib.compress(content) if packed else content
    if raw:
        (path.parent / raw).write_bytes(content)
    path.write_bytes(header if raw else header + content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("raw", ["", "a.raw"])
def test_metaimage_axes_are_the_files_and_the_frame_is_ras(tmp_path, packed, raw):
    volume = read_volume(mha(tmp_path / "a.mha", packed=packed, raw=raw))
    assert (volume.array == ARRAY).all()
    assert volume.array.dtype == np.int16
    assert (volume.grid.affine == TURNED).all()


def test_metaimage_channels_lie_in_each_voxel(tmp_path):
    both = np.stack([ARRAY, ARRAY + 1])
    path = mha(tmp_path / "a.mha", both, DimSize="6 7 5", ElementNumberOfChannels=2)
    first, second = read_channels(path)
    assert (first.array == ARRAY).all()
    assert (second.array == ARRAY + 1).all()


def test_broken_metaimages_are_refused(tmp_path):
    path = tmp_path / "a.mha"
    for packed in (False, True):
        whole = mha(path, packed=packed).read_bytes()
        path.write_bytes(whole[:-3])
        refused(path, "truncated")
    refused(mha(path, ElementSpacing="1 0 3"), "spacing not above 0")
    refused(mha(path, ElementType="MET_BANANA"), "MET_BANANA")
    refused(mha(path, raw="../a.raw"), "elsewhere")
    refused(mha(path, BinaryData="False"), "text")


def test_a_metaimage_without_orientation_has_that_of_its_format(tmp_path):
    path = mha(tmp_path / "a.mha")
    lines = [line for line in path.read_bytes().split(b"\n", 9) if b"TransformMatrix" not in line]
    path.write_bytes(b"\n".join(lines))
    volume = read_volume(path)
    assert (volume.grid.affine[:3, :3] == np.diag([-1, -2, 3])).all()
    assert "states no TransformMatrix" in volume.notes[0]
