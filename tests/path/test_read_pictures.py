"""Pictures: grey, colours and masks; cut, turned or mislabelled ones are refused."""

import struct

import numpy as np
import pytest
from PIL import Image

from oncoseg.errors import BadFile
from oncoseg.read import read_channels, read_label, read_volume
from scans import refused


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
