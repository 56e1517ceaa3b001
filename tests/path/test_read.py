"""Read: right, or refused with one sentence that names the file."""

import bz2
import gzip
import json
import struct
import time
import zlib

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image

from oncoseg.case import Grid
from oncoseg.errors import BadFile
from oncoseg.read import canonical, read_channels, read_label, read_volume
from oncoseg.write import write_volume

AFFINE = np.array([[-1.0, 0, 0, 11], [0, -2, 0, 12], [0, 0, 3, 13], [0, 0, 0, 1]])  # LPS axes
ARRAY = np.arange(6 * 7 * 5, dtype=np.int16).reshape(6, 7, 5)


def nii(path, array=ARRAY, affine=AFFINE, change=lambda header: None):
    """A file whose header is changed behind the writer's back."""
    whole = nibabel.Nifti1Image(array, affine, dtype=array.dtype).to_bytes()
    header = nibabel.Nifti1Header(whole[:348])
    change(header)
    content = header.binaryblock + whole[348:]
    path.write_bytes(gzip.compress(content) if path.name.endswith("gz") else content)
    return path


def refused(path, words, reader=read_volume):
    """The one sentence, which starts with the file and says these words."""
    with pytest.raises(BadFile, match=words) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert ";" in message, "the remedy comes after a semicolon"


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


def test_what_is_no_scan_is_refused(tmp_path):
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.dcm", "a.jpg"):
        (tmp_path / name).write_bytes(b"hello, this is only text")
        refused(tmp_path / name, "no NIfTI|damaged|broken NRRD|no MetaImage|no picture|no DICOM")
    refused(tmp_path / "none.nii", "does not exist")
    (tmp_path / "a.txt").write_text("text")
    refused(tmp_path / "a.txt", "of no kind that can be read")


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


# The first axis runs along y, the second along -x, in LPS.
META_AFFINE = np.array([[0.0, 2, 0, -1], [-1, 0, 0, -2], [0, 0, 3, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("raw", ["", "a.raw"])
def test_metaimage_axes_are_the_files_and_the_frame_is_ras(tmp_path, packed, raw):
    volume = read_volume(mha(tmp_path / "a.mha", packed=packed, raw=raw))
    assert (volume.array == ARRAY).all()
    assert volume.array.dtype == np.int16
    assert (volume.grid.affine == META_AFFINE).all()


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
    assert (volume.grid.affine == flip @ np.diag([-1, -1, 1, 1]) @ META_AFFINE).all()
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


def test_colour_pictures_are_red_green_and_blue(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "holds 3 images")
    red, _, blue = read_channels(tmp_path / "a.png")
    assert (red.array == colours[..., 0]).all()
    assert (blue.array == colours[..., 2]).all()
    assert (red.grid.affine == np.eye(3)).all()


def test_grey_stored_as_colour_is_one_volume(tmp_path):
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.png")
    assert (read_volume(tmp_path / "a.png").array == grey).all()
    assert len(read_channels(tmp_path / "a.png")) == 3


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_broken_pictures_are_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 30):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            read_volume(path)
    if name == "a.png":
        bent = bytearray(whole)
        bent[len(whole) // 2] ^= 4
        path.write_bytes(bent)
        refused(path, "damaged")


def test_turned_transparent_and_several_pictures_are_refused(tmp_path):
    grey = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9))
    exif = grey.getexif()
    exif[0x0112] = 6
    grey.save(tmp_path / "turned.jpg", exif=exif)
    refused(tmp_path / "turned.jpg", "EXIF")
    clear = grey.convert("RGBA")
    clear.putalpha(7)
    clear.save(tmp_path / "clear.png")
    refused(tmp_path / "clear.png", "transparent")
    grey.save(tmp_path / "two.tif", save_all=True, append_images=[grey])
    refused(tmp_path / "two.tif", "holds 2 pictures")


def test_masks_of_0_and_255_are_labels_of_0_and_1(tmp_path):
    mask = np.zeros((8, 9), np.uint8)
    mask[2:4, 3:5] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png").array.max() == 255
    label = read_label(tmp_path / "a.png").array
    assert (label == mask // 255).all()
    Image.fromarray(mask).save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "JPEG", read_label)


def test_label_maps_are_whole_numbers_from_0(tmp_path):
    whole = nii(tmp_path / "a.nii", np.full((2, 3, 4), 3.0))
    assert read_label(whole).array.dtype == np.int32
    refused(nii(tmp_path / "b.nii", np.full((2, 3, 4), 0.5)), "fractions", read_label)
    refused(nii(tmp_path / "c.nii", np.full((2, 3, 4), -1, np.int16)), "holds -1", read_label)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("t1 T1n T1w t1_pre", "t1"),
        ("t1ce T1C t1Gd t1post t1_gd T1wCE t1-post", "t1ce"),
        ("T2 t2w", "t2"),
        ("FLAIR t2f T2FLAIR t2-flair", "flair"),
        ("CT", "ct"),
        ("PT pet SUV", "pet"),
        ("MR_T1 mr_t1", "mr_t1"),
        ("Ktrans", "ktrans"),
        ("Unheard_Of", "unheard_of"),
    ],
)
def test_names_of_the_field_have_one_spelling(names, expected):
    assert {canonical(name) for name in names.split()} == {expected}


@pytest.mark.data
def test_real_scans_are_as_nibabel_reads_them(data):
    paths = sorted((data / "sts_petctmr").rglob("*.nii.gz"))[:12]
    paths += sorted((data / "msd_task04_hippocampus" / "images").glob("*.nii.gz"))[:12]
    assert paths
    for path in paths:
        image, volume = nibabel.load(path), read_volume(path)
        assert (np.asarray(image.dataobj) == volume.array).all()
        assert np.allclose(image.affine, volume.grid.affine, atol=1e-6)


@pytest.mark.data
def test_reading_is_as_fast_as_nibabel_though_it_checks_more(data):
    path = next((data / "brats2021").rglob("*_t2.nii.gz"))
    ours, theirs = [], []
    for _ in range(5):
        start = time.perf_counter()
        read_volume(path)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        np.asarray(nibabel.load(path).dataobj)
        theirs.append(time.perf_counter() - start)
    assert min(ours) <= 1.2 * min(theirs), json.dumps([min(ours), min(theirs)])


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


@pytest.mark.parametrize("spacing", [1e-5, 101.0])
def test_spacings_of_no_scan_are_refused(tmp_path, spacing):
    refused(nii(tmp_path / "a.nii", affine=np.diag([1, spacing, 1, 1])), "spacing")


def test_metres_written_as_millimetres_are_noted(tmp_path):
    volume = read_volume(nii(tmp_path / "a.nii", affine=np.diag([1e-3, 1e-3, 2e-3, 1])))
    assert "were metres written for mm" in volume.notes[0]


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


def test_a_sheared_grid_is_read_with_a_note(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 1.0
    volume = read_volume(
        nii(tmp_path / "a.nii", affine=affine, change=lambda h: h.__setitem__("qform_code", 0))
    )
    assert volume.grid.sheared
    assert (volume.grid.affine == affine).all()
    assert "not at right angles" in volume.notes[0]


def test_a_metaimage_without_orientation_has_that_of_its_format(tmp_path):
    path = mha(tmp_path / "a.mha")
    lines = [line for line in path.read_bytes().split(b"\n", 9) if b"TransformMatrix" not in line]
    path.write_bytes(b"\n".join(lines))
    volume = read_volume(path)
    assert (volume.grid.affine[:3, :3] == np.diag([-1, -2, 3])).all()
    assert "states no TransformMatrix" in volume.notes[0]


def test_other_formats_behind_a_pictures_name_are_refused(tmp_path):
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    refused(tmp_path / "a.png", "no picture that can be read")


def test_jpeg_inside_tiff_is_no_label_map(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.tif", compression="jpeg")
    refused(tmp_path / "a.tif", "JPEG", read_label)


@pytest.mark.parametrize("name", ["a.jpg", "p.jpg", "a.tif", "l.tif", "a.bmp", "a.png"])
def test_no_cut_picture_is_accepted(tmp_path, name):
    options = {"p.jpg": {"progressive": True}, "l.tif": {"compression": "tiff_lzw"}}
    y, x = np.mgrid[:48, :40]
    picture = Image.fromarray((127 + 60 * np.sin(y / 9) + 50 * np.cos(x / 7)).astype(np.uint8))
    picture.save(tmp_path / name, **options.get(name, {}))
    whole = (tmp_path / name).read_bytes()
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(BadFile):
            read_volume(tmp_path / name)


def test_unsigned_numbers_of_32_bits_in_tiff_stay_unsigned(tmp_path):
    array = np.full((4, 5), 2**31 + 7, np.uint32)
    Image.fromarray(array.view(np.int32)).save(tmp_path / "a.tif")
    whole = (tmp_path / "a.tif").read_bytes()
    signed, unsigned = (struct.pack("<HHII", 339, 3, 1, kind) for kind in (2, 1))
    assert signed in whole
    (tmp_path / "a.tif").write_bytes(whole.replace(signed, unsigned))
    assert (read_volume(tmp_path / "a.tif").array == array).all()


def test_a_tiff_without_the_last_bytes_of_its_directory_is_truncated(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(path, compression="tiff_lzw")
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:-cut])
        refused(path, "truncated or damaged|no picture")


def test_a_png_with_a_broken_end_before_a_whole_one_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + whole[40:])  # its end, its checksum cut, then half of it again
    with pytest.raises(BadFile, match="its part b'IEND' does not check"):
        read_volume(path)


def test_a_png_whose_last_chunk_does_not_check_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"IEND" + whole[-4:])
    refused(path, "its part b'IEND' does not check")
