"""Every fault: how its file is made from a good one, and what is expected; one line each.

`refused` is a part of the sentence that refuses it. Where it is empty the file is read, exactly as
`truth` has it, with a note that holds `note`, if any.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from badinputs.files import (
    AFFINE,
    ARRAY,
    PICTURE,
    PIXELS,
    bent,
    blank,
    bomb,
    cut,
    deflated,
    forms,
    longer,
    mha,
    nii,
    nrrd,
    packed,
    picture,
    raw,
    squeezed,
    swapped,
    wide_png,
)


@dataclass(frozen=True)
class Fault:
    """One way in which a file is bad; `made` says how in words, `make(folder)` gives its path."""

    name: str
    made: str
    make: Callable[[Path], Path]
    refused: str = ""
    note: str = ""
    truth: tuple[Any, Any] = (ARRAY, AFFINE)


def text(folder, name="t1.nii.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("this is only text")
    return folder / name


def turned(degrees):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ AFFINE


def moved(**rows):
    """The affine with some rows replaced."""
    affine = AFFINE.copy()
    for row, values in rows.items():
        affine["xyz".index(row)] = values
    return affine


def changed(value, kind=np.float32):
    array = ARRAY.astype(kind)
    array[1, 2, 3] = value
    return array


def version_2(folder):
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti2Image(ARRAY, AFFINE), folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def big_endian(folder):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Image(ARRAY, AFFINE, header)
    return packed(folder / "t1.nii", image.to_bytes())


def pair(folder, kind):
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(kind(ARRAY, AFFINE), folder / "t1.img")
    return folder / "t1.hdr"


def streams(folder):
    path = nii(folder)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    return path


def elsewhere(folder):
    (folder.parent / "secret.raw").write_bytes(raw())
    return mha(folder, voxels=b"", ElementDataFile="../secret.raw")


def link(folder, target):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t1.nii.gz").symlink_to(target)
    return folder / "t1.nii.gz"


def named_folder(folder):
    return nii(folder / "t1.nii.gz").parent


def pages(folder):
    more = [Image.fromarray(PICTURE)]
    return picture(folder, "t1.tif", save_all=True, append_images=more)


def rotated(folder):
    image = Image.fromarray(PICTURE)
    exif = image.getexif()
    exif[0x0112] = 6
    return picture(folder, "t1.jpg", image, exif=exif)


def clear(folder):
    image = Image.fromarray(PICTURE).convert("RGBA")
    image.putalpha(7)
    return picture(folder, array=image)


def gif(folder):
    return picture(folder, "t1.gif").rename(folder / "t1.png")


RGB = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
SHEARED = moved(y=[0, -1.5, 1, 12])
MIRRORED = np.diag([-1, 1, 1, 1]) @ AFFINE
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAMELESS = LPS @ np.diag([1.0, 1.5, 2.0, 1.0])
LARGE = PICTURE.astype(np.uint16) * 257
PIC = (PICTURE, PIXELS)

NIFTI = [
    Fault("empty", "a file of no bytes", lambda d: packed(d / "t1.nii", b""), "cut within"),
    Fault("text", "text under the name of a scan", text, "is damaged"),
    Fault("header-cut", "100 bytes of it", lambda d: cut(nii(d, "t1.nii"), 0.04), "cut within"),
    Fault("cut", "its second half is missing", lambda d: cut(nii(d, "t1.nii")), "truncated"),
    Fault("cut-1", "its last byte is missing", lambda d: cut(nii(d, "t1.nii"), -1), "truncated"),
    Fault("gz-cut", "its second half is missing", lambda d: cut(nii(d)), "truncated"),
    Fault("gz-cut-1", "its last byte is missing", lambda d: cut(nii(d), -1), "truncated"),
    Fault("gz-cut-crc", "its checksum is missing", lambda d: cut(nii(d), -8), "truncated"),
    Fault("gz-bit", "a bit of its voxels flipped", lambda d: bent(nii(d)), "damaged"),
    Fault("gz-crc", "a bit of its checksum flipped", lambda d: bent(nii(d), -6), "damaged"),
    Fault("gz-blank", "zeros over a fifth of it", lambda d: blank(nii(d)), "damaged|goes on"),
    Fault("gz-longer", "four bytes after its end", lambda d: longer(nii(d)), "something else"),
    Fault("longer", "four bytes after its voxels", lambda d: longer(nii(d, "t1.nii")), "goes on"),
    Fault("gz-name", "not packed, but named so", lambda d: nii(d, "t1.nii").rename(d / "t1.nii.gz"), "damaged"),
    Fault("no-gz-name", "packed, but not named so", lambda d: nii(d).rename(d / "t1.nii"), "no NIfTI"),
    Fault("gz-streams", "packed in two streams", streams),
    Fault("gz-bomb", "4 MB that unpack to 3 GB", bomb, "asks for"),
    Fault("analyze", "an Analyze header and image", lambda d: pair(d, nibabel.Spm2AnalyzeImage), "Analyze"),
    Fault("pair", "a NIfTI header and image", lambda d: pair(d, nibabel.Nifti1Pair), "NIfTI pair"),
    Fault("magic", "the magic number of a pair", lambda d: nii(d, magic=b"ni1"), "magic number"),
    Fault("dim-0", "an axis of 0 voxels", lambda d: nii(d, dim=[3, 10, 0, 9, 1, 1, 1, 1]), "impossible"),
    Fault("dim-negative", "an axis of -5 voxels", lambda d: nii(d, dim=[3, 10, -5, 9, 1, 1, 1, 1]), "impossible"),
    Fault("dim-large", "an axis too long for its voxels", lambda d: nii(d, dim=[3, 10, 11, 10, 1, 1, 1, 1]), "truncated"),
    Fault("dim-small", "an axis too short for its voxels", lambda d: nii(d, dim=[3, 10, 11, 8, 1, 1, 1, 1]), "goes on"),
    Fault("dim-huge", "30000 voxels along each axis", lambda d: nii(d, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), "truncated"),
    Fault("dim-rank", "a number of axes of 90", lambda d: nii(d, dim=[90, 10, 11, 9, 1, 1, 1, 1]), "impossible|inside the header"),
    Fault("offset", "voxels that begin in the header", lambda d: nii(d, vox_offset=100), "inside the header"),
    Fault("type", "a type that is not known", lambda d: nii(d, datatype=99), "unknown type"),
    Fault("complex", "complex numbers", lambda d: nii(d, array=ARRAY.astype(np.complex64)), "complex64"),
    Fault("rgb", "colours", lambda d: nii(d, array=RGB), "colours"),
    Fault("float128", "numbers of 128 bits", lambda d: nii(d, datatype=1536, bitpix=128), "unknown type"),
    Fault("int64", "a number of 63 bits", lambda d: nii(d, array=changed(2**62 + 1, np.int64)), truth=(changed(2**62 + 1, np.int64), AFFINE)),
    Fault("uint64", "a number of 64 bits", lambda d: nii(d, array=changed(2**63 + 5, np.uint64)), truth=(changed(2**63 + 5, np.uint64), AFFINE)),
    Fault("big-endian", "bytes the other way round", big_endian),
    Fault("version-2", "NIfTI of version 2", version_2),
    Fault("nan", "one voxel is NaN", lambda d: nii(d, array=changed(np.nan)), "NaN or infinity in 1"),
    Fault("infinity", "one voxel is infinite", lambda d: nii(d, array=changed(-np.inf)), "NaN or infinity in 1"),
    Fault("overflow", "1e300 in a voxel", lambda d: nii(d, array=changed(1e300, np.float64)), "too large for float32"),
    Fault("constant", "the same value everywhere", lambda d: nii(d, array=np.full((9, 9, 9), 4, np.int16)), "4 in every voxel"),
    Fault("slope-nan", "scaled by NaN", lambda d: nii(d, scl_slope=np.nan), "scl_slope"),
    Fault("slope-infinite", "scaled by infinity", lambda d: nii(d, scl_slope=np.inf), "scl_slope"),
    Fault("slope-0", "scaled by 0, which means not at all", lambda d: nii(d, scl_slope=0, scl_inter=5)),
    Fault("no-place", "neither sform nor qform", lambda d: nii(d, sform_code=0, qform_code=0), "does not say how it lies"),
    Fault("forms-flip", "sform and qform are mirrored", lambda d: forms(d, sform=MIRRORED), "differ by a flip"),
    Fault("forms-turned", "sform and qform are 180 degrees apart", lambda d: forms(d, sform=turned(180)), "differ by a flip"),
    Fault("forms-differ", "sform and qform are 4 degrees apart", lambda d: forms(d, sform=turned(4)), note="4 degrees; the sform was taken", truth=(ARRAY, turned(4))),
    Fault("qform-broken", "an sform beside a qform of nonsense", lambda d: nii(d, sform_code=1, qform_code=1, quatern_b=3), note="qform makes no sense"),
    Fault("singular", "two axes that are the same", lambda d: nii(d, srow_y=[-1, 0, 0, 0], srow_x=[1, 0, 0, 0]), "singular|spacing"),
    Fault("affine-nan", "a NaN in its affine", lambda d: nii(d, srow_x=[-1, 0, np.nan, 1]), "not finite"),
    Fault("affine-huge", "1e9 mm away", lambda d: nii(d, srow_x=[-1, 0, 0, 1e9]), "absurdly large"),
    Fault("spacing-0", "a spacing of 0", lambda d: nii(d, sform_code=0, qform_code=1, pixdim=[1, 1, 0, 2, 1, 1, 1, 1]), "spacing"),
    Fault("spacing-metres", "metres that are metres: 1 m a voxel", lambda d: nii(d, xyzt_units=1), "spacing"),
    Fault("spacing-tiny", "metres written as millimetres", lambda d: nii(d, affine=np.diag([1e-3, 1e-3, 2e-3, 1])), note="were metres written", truth=(ARRAY, np.diag([1e-3, 1e-3, 2e-3, 1]))),
    Fault("sheared", "axes that are not at right angles", lambda d: nii(d, affine=SHEARED, qform_code=0), note="not at right angles", truth=(ARRAY, SHEARED)),
    Fault("left-handed", "axes of a mirror image, stated as such", lambda d: nii(d, affine=MIRRORED), truth=(ARRAY, MIRRORED)),
    Fault("axis-1", "an axis of one voxel", lambda d: nii(d, array=ARRAY[:, :1]), truth=(ARRAY[:, :1], AFFINE)),
    Fault("last-1", "a fourth axis of 1", lambda d: nii(d, array=ARRAY[..., None])),
    Fault("volumes", "two volumes in one file", lambda d: nii(d, array=np.stack([ARRAY, ARRAY], axis=-1)), "holds 2 images"),
    Fault("axes-5", "five axes", lambda d: nii(d, array=np.stack([ARRAY] * 4, axis=-1).reshape(10, 11, 9, 2, 2)), "has 5 axes"),
    Fault("link", "a link to nothing", lambda d: link(d, d / "gone"), "link to nothing"),
    Fault("loop", "a link to itself", lambda d: link(d, d / "t1.nii.gz"), "link to nothing|cannot be read"),
    Fault("folder", "a folder with the name of a scan", named_folder, "folder with the name of a scan"),
]  # fmt: skip

OTHERS = [
    Fault("nrrd-cut", "its second half is missing", lambda d: cut(nrrd(d)), "truncated"),
    Fault("nrrd-longer", "four bytes after its voxels", lambda d: longer(nrrd(d)), "goes on"),
    Fault("nrrd-gz-bit", "a bit of its packed voxels flipped", lambda d: bent(nrrd(d, voxels=gzip.compress(raw()), encoding="gzip"), 0.7), "damaged"),
    Fault("nrrd-bz2-bit", "a bit of its packed voxels flipped", lambda d: bent(nrrd(d, voxels=squeezed(), encoding="bzip2"), 0.7), "damaged"),
    Fault("nrrd-bz2-cut", "its packed voxels have no end", lambda d: cut(nrrd(d, voxels=squeezed(), encoding="bzip2"), -9), "truncated"),
    Fault("nrrd-text", "voxels as text", lambda d: nrrd(d, encoding="text"), "encoding 'text'"),
    Fault("nrrd-type", "a type that is not known", lambda d: nrrd(d, type="banana"), "banana|broken NRRD"),
    Fault("nrrd-endian", "no byte order", lambda d: nrrd(d, endian=None), "byte order"),
    Fault("nrrd-space", "no space", lambda d: nrrd(d, space=None), "patient space|broken NRRD"),
    Fault("nrrd-scanner", "a space that is not the patient's", lambda d: nrrd(d, space="scanner-xyz"), "patient space"),
    Fault("nrrd-origin", "an origin of NaN", lambda d: nrrd(d, space_origin="(nan,0,0)"), "not finite"),
    Fault("nrrd-flat", "directions of 0", lambda d: nrrd(d, space_directions="(0,0,0) (0,1,0) (0,0,1)"), "spacing"),
    Fault("nrrd-inches", "a space in inches", lambda d: nrrd(d, space_units='"in" "in" "in"'), "space units"),
    Fault("nrrd-skip", "bytes to be skipped", lambda d: nrrd(d, byte_skip=8), "skips"),
    Fault("nrrd-gone", "voxels in a file that is missing", lambda d: nrrd(d, voxels=b"", name="t1.nhdr", data_file="t1.raw"), "missing"),
    Fault("nrrd-away", "voxels in another folder", lambda d: nrrd(d, voxels=b"", name="t1.nhdr", data_file="../t1.raw"), "elsewhere"),
    Fault("nrrd-list", "voxels in a list of files", lambda d: nrrd(d, voxels=b"a.raw\nb.raw\n", name="t1.nhdr", data_file="LIST"), "elsewhere|missing"),
    Fault("nrrd-head", "a header that breaks off", lambda d: cut(nrrd(d), 0.05), "header|lacks|sizes|type|byte order"),
    Fault("mha-cut", "its second half is missing", lambda d: cut(mha(d)), "truncated"),
    Fault("mha-longer", "four bytes after its voxels", lambda d: longer(mha(d)), "goes on"),
    Fault("mha-bit", "a bit of its packed voxels flipped", lambda d: bent(mha(d, voxels=deflated(), CompressedData="True"), 0.7), "damaged"),
    Fault("mha-spacing", "a spacing of 0", lambda d: mha(d, ElementSpacing="1 0 2"), "spacing not above 0"),
    Fault("mha-words", "a spacing in words", lambda d: mha(d, ElementSpacing="one two three"), "ElementSpacing"),
    Fault("mha-type", "a type that is not known", lambda d: mha(d, ElementType="MET_BANANA"), "MET_BANANA"),
    Fault("mha-text", "voxels as text", lambda d: mha(d, BinaryData="False"), "text"),
    Fault("mha-foreign", "voxels after a foreign header", lambda d: mha(d, HeaderSize=128), "HeaderSize"),
    Fault("mha-list", "voxels in a list of files", lambda d: mha(d, voxels=b"a.raw\n", ElementDataFile="LIST"), "elsewhere"),
    Fault("mha-away", "voxels in another folder", elsewhere, "elsewhere"),
    Fault("mha-gone", "voxels in a file that is missing", lambda d: mha(d, voxels=b"", ElementDataFile="t1.raw"), "missing"),
    Fault("mha-axes", "three axes, but two sizes", lambda d: mha(d, DimSize="10 11"), "DimSize"),
    Fault("mha-turn", "no orientation: that of its format", lambda d: mha(d, TransformMatrix=None, Offset=None), note="states no TransformMatrix and no Offset", truth=(ARRAY, NAMELESS)),
]  # fmt: skip

PICTURES = [
    Fault("png-cut", "its second half is missing", lambda d: cut(picture(d)), "truncated"),
    Fault("png-bit", "a bit of its pixels flipped", lambda d: bent(picture(d)), "damaged"),
    Fault("png-end", "its end is missing", lambda d: cut(picture(d), -12), "truncated"),
    Fault("png-wide", "60000 x 60000 pixels in a few bytes", wide_png, "too large|truncated"),
    Fault("png-clear", "pixels one can see through", clear, "transparent"),
    Fault("png-gif", "another format behind its name", gif, "no picture"),
    Fault("png-16", "16 bits a pixel", lambda d: picture(d, array=LARGE), truth=(LARGE, PIXELS)),
    Fault("png-grey", "grey stored as colours", lambda d: picture(d, array=np.stack([PICTURE] * 3, axis=-1)), truth=PIC),
    Fault("jpg-cut", "its second half is missing", lambda d: cut(picture(d, "t1.jpg")), "truncated"),
    Fault("jpg-end", "its end is missing", lambda d: cut(picture(d, "t1.jpg"), -2), "truncated"),
    Fault("jpg-scan", "a progressive one, cut between scans", lambda d: cut(picture(d, "t1.jpg", progressive=True), 0.8), "truncated"),
    Fault("jpg-cmyk", "colours for printing", lambda d: picture(d, "t1.jpg", Image.fromarray(PICTURE).convert("CMYK")), "CMYK"),
    Fault("jpg-turned", "stored turned (EXIF)", rotated, "EXIF"),
    Fault("tif-cut", "its second half is missing", lambda d: cut(picture(d, "t1.tif")), "truncated|picture"),
    Fault("tif-lzw-cut", "its second half is missing", lambda d: cut(picture(d, "t1.tif", compression="tiff_lzw")), "truncated|picture"),
    Fault("tif-pages", "two pictures in one file", pages, "holds 2 pictures"),
    Fault("tif-white", "white as 0", lambda d: swapped(picture(d, "t1.tif"), b"\x06\x01\x03\x00\x01\x00\x00\x00\x01", b"\x06\x01\x03\x00\x01\x00\x00\x00\x00"), "white as 0"),
    Fault("bmp-cut", "its second half is missing", lambda d: cut(picture(d, "t1.bmp")), "truncated"),
]  # fmt: skip
FILES = [*NIFTI, *OTHERS, *PICTURES]
