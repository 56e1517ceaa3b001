"""NIfTI: every voxel as it is stored, or refused with one sentence that names the file."""

import gzip

import nibabel
import numpy as np
import pytest

from oncoseg.errors import BadFile
from oncoseg.read import read_channels, read_label, read_volume
from scans import AFFINE, ARRAY, nii, refused


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_comes_as_stored_and_may_be_written_to(tmp_path, name):
    volume = read_volume(nii(tmp_path / name))
    assert volume.array.dtype == np.int16
    assert (volume.array == ARRAY).all()
    assert (volume.grid.affine == AFFINE).all()
    assert volume.array.flags.writeable


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_every_truncation_is_refused(tmp_path, name):
    whole = nii(tmp_path / name).read_bytes()
    for length in {*range(0, len(whole), 7), len(whole) - 1}:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(BadFile, match=r"truncated|cut within"):
            read_volume(tmp_path / name)
    refused(tmp_path / name, "truncated|cut within")


def test_flipped_bits_in_gzip_are_refused_or_harmless(tmp_path):
    path = nii(tmp_path / "a.nii.gz")
    whole = path.read_bytes()
    accepted = 0
    for place in range(10, len(whole)):  # the first ten bytes hold no content
        bent = bytearray(whole)
        bent[place] ^= 1 << (place % 8)
        path.write_bytes(bent)
        try:
            volume = read_volume(path)
        except BadFile:
            continue
        accepted += 1  # bits that fill up the last byte of the stream mean nothing
        assert (volume.array == ARRAY).all()
        assert (volume.grid.affine == AFFINE).all()
    assert accepted <= 1


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_comes_after_the_voxels_is_refused(tmp_path, name):
    path = nii(tmp_path / name)
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "goes on|something else")


def test_more_voxels_than_the_header_promises_are_refused(tmp_path):
    path = nii(tmp_path / "a.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0"))
    refused(path, "goes on")


def test_gzip_in_several_streams_is_one_file(tmp_path):
    path = nii(tmp_path / "a.nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    assert (read_volume(path).array == ARRAY).all()


def test_a_header_cannot_ask_for_more_memory_than_the_file_can_fill(tmp_path):
    def huge(header):
        header["dim"][1:4] = 30000

    for name in ("a.nii", "a.nii.gz"):
        refused(nii(tmp_path / name, change=huge), "truncated")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, value):
    array = ARRAY.astype(np.float32)
    array[1, 2, 3] = value
    refused(nii(tmp_path / "a.nii.gz", array), "NaN or infinity in 1 voxels")


def test_scaled_integers_become_float32(tmp_path):
    def scale(header):
        header["scl_slope"], header["scl_inter"] = 0.5, -3

    array = read_volume(nii(tmp_path / "a.nii", change=scale)).array
    assert array.dtype == np.float32
    assert (array == ARRAY * 0.5 - 3).all()


def test_float64_becomes_float32_and_other_byte_orders_are_native(tmp_path):
    assert read_volume(nii(tmp_path / "a.nii", ARRAY.astype(float))).array.dtype == np.float32
    image = nibabel.Nifti1Image(ARRAY, AFFINE, nibabel.Nifti1Header(endianness=">"))
    (tmp_path / "b.nii").write_bytes(image.to_bytes())
    volume = read_volume(tmp_path / "b.nii")
    assert volume.array.dtype.isnative
    assert (volume.array == ARRAY).all()


def test_a_last_axis_of_one_is_no_channel(tmp_path):
    assert read_volume(nii(tmp_path / "a.nii", ARRAY[..., None])).array.shape == ARRAY.shape


def test_four_dimensions_are_channels_not_a_volume(tmp_path):
    path = nii(tmp_path / "a.nii.gz", np.stack([ARRAY, ARRAY + 1], axis=-1))
    refused(path, "holds 2 images, not one")
    first, second = read_channels(path)
    assert (second.array - first.array == 1).all()
    assert first.grid.shape == ARRAY.shape


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours"),
        (np.zeros((2, 3, 4), np.complex64), "complex64"),
    ],
)
def test_colours_and_complex_numbers_are_no_volume(tmp_path, array, words):
    refused(nii(tmp_path / "a.nii", array), words)


@pytest.mark.parametrize("slope", [np.nan, np.inf, -np.inf])
def test_slopes_that_are_no_numbers_are_refused(tmp_path, slope):
    def scale(header):
        header["scl_slope"], header["scl_inter"] = slope, 0

    refused(nii(tmp_path / "a.nii", change=scale), "scl_slope")

    def shift(header):
        header["scl_slope"], header["scl_inter"] = 1, slope

    refused(nii(tmp_path / "a.nii", change=shift), "scl_inter")


def test_a_slope_of_nothing_scales_nothing(tmp_path):
    def scale(header):
        header["scl_slope"], header["scl_inter"] = 0, 7

    assert (read_volume(nii(tmp_path / "a.nii", change=scale)).array == ARRAY).all()


def test_whole_numbers_of_64_bits_are_exact(tmp_path):
    for kind, top in ((np.int64, 2**62 + 1), (np.uint64, 2**63 + 5)):
        array = ARRAY.astype(kind)
        array[1, 2, 3] = top
        volume = read_volume(nii(tmp_path / "a.nii.gz", array))
        assert volume.array.dtype == kind
        assert int(volume.array[1, 2, 3]) == top


def test_numbers_beyond_float32_are_refused(tmp_path):
    array = ARRAY.astype(np.float64)
    array[1, 2, 3] = 1e300
    refused(nii(tmp_path / "a.nii", array), "too large for float32 in 1 voxels")

    def scale(header):
        header["scl_slope"], header["scl_inter"] = 3e38, 0

    refused(nii(tmp_path / "b.nii", change=scale), "too large for float32")
    label = np.full((2, 3, 4), 2.0**24 + 2)
    refused(nii(tmp_path / "c.nii", label), "16777218 as a floating-point", read_label)


@pytest.mark.parametrize("name", ["a.hdr", "a.img", "a.img.gz"])
def test_analyze_and_pairs_are_refused_with_the_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0" * 348)
    refused(tmp_path / name, "Analyze or half of a NIfTI pair, in which left and right")


def test_nifti_2_is_read_and_float128_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti2Image(ARRAY, AFFINE), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert (volume.array == ARRAY).all()
    assert (volume.grid.affine == AFFINE).all()

    def change(header):
        header["datatype"], header["bitpix"] = 1536, 128

    refused(nii(tmp_path / "b.nii", change=change), "float128|longdouble|unknown type")


def test_a_small_file_cannot_ask_for_gigabytes(tmp_path):
    def huge(header):
        header["dim"][1:4] = 1100, 1100, 1100

    path = nii(tmp_path / "a.nii.gz", change=huge)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:352]) + gzip.compress(b"\0" * (1 << 22)) * 700)
    refused(path, "asks for 2.7 GB of memory out of 2.9 MB of file|truncated")
