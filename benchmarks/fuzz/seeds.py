"""Small valid files of every format, built here, from which mutated ones are made."""

import gzip
import io
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

SHAPE = (9, 8, 7)
AFFINE = np.array([[-1.0, 0, 0, 11], [0, -2, 0, 12], [0, 0, 3, 13], [0, 0, 0, 1]])
SLICES = 5


@dataclass(frozen=True)
class Seed:
    """A file: `head` bytes are its header; `inner` is what is packed in it, `pack` its inverse.

    `beside` are further files that it needs. `sound` says of changed bytes whether the checksums
    that the format has still hold; it is independent of every reader that is judged.
    """

    name: str
    content: bytes
    head: int
    text: bool = False
    inner: bytes = b""
    inner_head: int = 0
    pack: Callable[[bytes], bytes] | None = None
    sound: Callable[[bytes], bool] | None = None
    beside: tuple[tuple[str, bytes], ...] = ()


def array(dtype=np.int16, shape=SHAPE):
    """Voxels without a pattern that compresses to nothing."""
    noise = np.random.default_rng(7).normal(100, 40, shape)
    return np.clip(noise, 0, 250).astype(dtype)


def gzipped(content):
    """As writers do, the same bytes every time."""
    return gzip.compress(content, mtime=0)


def gzip_sound(content):
    """Whether Python's own gzip finds every checksum and length right."""
    try:
        gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _nifti():
    import nibabel

    files = {}
    for name, dtype, kind, endian in (
        ("int16", np.int16, nibabel.Nifti1Image, "<"),
        ("float32", np.float32, nibabel.Nifti1Image, "<"),
        ("big", np.int16, nibabel.Nifti1Image, ">"),
        ("two", np.uint8, nibabel.Nifti2Image, "<"),
        ("channels", np.int16, nibabel.Nifti1Image, "<"),
    ):
        shape = (*SHAPE, 2) if name == "channels" else SHAPE
        header = kind.header_class(endianness=endian)
        header.set_data_dtype(dtype)
        image = kind(array(dtype, shape), AFFINE, header)
        image.set_sform(AFFINE, 1)
        image.set_qform(AFFINE, 1)
        files[name] = image.to_bytes()
    return files


def nii():
    """NIfTI-1 and -2, two byte orders, 3-D and 4-D."""
    return [Seed(f"{name}.nii", raw, 352) for name, raw in _nifti().items()]


def nii_gz():
    """The same, compressed."""
    return [
        Seed(
            f"{name}.nii.gz",
            gzipped(raw),
            10,
            inner=raw,
            inner_head=352,
            pack=gzipped,
            sound=gzip_sound,
        )
        for name, raw in _nifti().items()
    ]


NRRD = """NRRD0004
type: {type}
dimension: 3
space: left-posterior-superior
sizes: 9 8 7
space directions: (1,0,0) (0,2,0) (0,0,3)
kinds: domain domain domain
endian: little
encoding: {encoding}
space origin: (-11,-12,13)

"""


def _behind(mark, check):
    """Whether what follows a header's last line checks; a header without it is not judged."""

    def sound(content):
        _, found, packed = content.partition(mark)
        return not found or check(packed)

    return sound


def _packed(name, head, body, pack, sound):
    return Seed(
        name,
        head + pack(body),
        len(head),
        text=True,
        inner=head + body,
        inner_head=len(head),
        # The header stays as it is, so only what lies behind its old length is packed.
        pack=lambda bent: bent[: len(head)] + pack(bent[len(head) :]),
        sound=sound,
    )


def nrrd():
    """Raw and gzip."""
    body = array().astype("<i2").tobytes(order="F")
    raw, packed = (NRRD.format(type="int16", encoding=e).encode() for e in ("raw", "gzip"))
    sound = _behind(b"encoding: gzip\nspace origin: (-11,-12,13)\n\n", gzip_sound)
    return [
        Seed("raw.nrrd", raw + body, len(raw), text=True),
        _packed("gzip.nrrd", packed, body, gzipped, sound),
    ]


META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = {packed}
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -11 -12 13
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 1 2 3
DimSize = 9 8 7
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


def zlib_sound(content):
    """Whether Python's own zlib finds the checksum right."""
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True


def mha():
    """Raw and compressed."""
    body = array().astype("<i2").tobytes(order="F")
    raw, packed = (META.format(packed=word).encode() for word in ("False", "True"))
    return [
        Seed("raw.mha", raw + body, len(raw), text=True),
        _packed("packed.mha", packed, body, zlib.compress, _behind(b"= LOCAL\n", zlib_sound)),
    ]


def png_sound(content):
    """Whether every chunk's checksum holds, up to the end; what follows it is no chunk."""
    place = 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        piece = content[place + 4 : place + 8 + length]
        stated = content[place + 8 + length : place + 12 + length]
        if zlib.crc32(piece).to_bytes(4, "big") != stated:
            return False
        place += 12 + length
        if piece[:4] == b"IEND":
            return True
    return False


def _picture(kind, pixels, **options):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png():
    """Grey of 8 and 16 bits, colour."""
    files = {
        "grey": _picture("PNG", array(np.uint8, (24, 31))),
        "deep": _picture("PNG", array(np.uint16, (24, 31))),
        "colour": _picture("PNG", array(np.uint8, (24, 31, 3))),
    }
    return [Seed(f"{name}.png", raw, 60, sound=png_sound) for name, raw in files.items()]


def jpg():
    """Baseline and progressive."""
    pixels = array(np.uint8, (24, 31))
    files = {
        "grey": _picture("JPEG", pixels),
        "colour": _picture("JPEG", array(np.uint8, (24, 31, 3))),
        "progressive": _picture("JPEG", pixels, progressive=True),
    }
    return [Seed(f"{name}.jpg", raw, 300) for name, raw in files.items()]


def tif():
    """Raw, LZW, deflate."""
    files = {
        "raw": _picture("TIFF", array(np.uint8, (24, 31))),
        "deep": _picture("TIFF", array(np.uint16, (24, 31))),
        "lzw": _picture("TIFF", array(np.uint8, (24, 31)), compression="tiff_lzw"),
        "deflate": _picture("TIFF", array(np.uint8, (24, 31, 3)), compression="tiff_adobe_deflate"),
    }
    return [Seed(f"{name}.tif", raw, 160) for name, raw in files.items()]


def _slice(number, modality="CT", **changes):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.5.{number}"
    meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"1.2.5.{number}",
        "Modality": modality,
        "PatientID": "1",
        "StudyInstanceUID": "1.2.2",
        "SeriesInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.4",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-5, -6, 2.5 * number],
        "PixelSpacing": [2, 0.5],
        "SliceThickness": 2.5,
        "Rows": 8,
        "Columns": 9,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "InstanceNumber": number + 1,
        **changes,
    }
    for name, value in values.items():
        setattr(made, name, value)
    pixels = array(np.int16, (8, 9, SLICES))[..., number]
    made.PixelData = np.ascontiguousarray(pixels).tobytes()
    return made


def _saved(made, *, rle=False):
    buffer = io.BytesIO()
    if rle:
        from pydicom.uid import RLELossless

        made.compress(RLELossless, generate_instance_uid=False)
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom():
    """A series of five slices, of which the first, a middle or the last one is mutated."""
    from pydicom.uid import ImplicitVRLittleEndian

    seeds = []
    for name, options, rle in (
        ("explicit", {}, False),
        ("implicit", {"syntax": ImplicitVRLittleEndian}, False),
        ("rle", {}, True),
    ):
        files = [_saved(_slice(n, **options), rle=rle) for n in range(SLICES)]
        for number in (0, 2, SLICES - 1):
            beside = [(f"{n}.dcm", raw) for n, raw in enumerate(files) if n != number]
            content = files[number]
            head = content.rfind(b"\xe0\x7f\x10\x00")
            names = f"{name}-{number}/{number}.dcm"
            seeds.append(Seed(names, content, head, beside=tuple(beside)))
    return seeds


MODEL = """
import sys, torch
from pathlib import Path
from oncoseg import registry
from oncoseg.case import Task
from oncoseg.model import save_model
from oncoseg.prepare.plan import Normalisation, Plan
task = Task("t", ("a",), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (8, 8, 8), ((2, 2, 2),))
torch.manual_seed(0)
spelled = "unet:width=2"
network = registry.build("networks", spelled, task)
plan = Plan(task, {"a": Normalisation()})
save_model(Path(sys.argv[1]), network, spelled, plan, {"name": "seed"}, "none")
"""
FORMAT = "oncoseg-model-1"


def _members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _resealed(members, name):
    """Bytes of one member -> a model file with sums that fit, as a forger would write it."""

    def pack(bent):
        parts = {**members, name: bent}
        del parts["checksums.json"]
        sums = {part: sha256(raw).hexdigest() for part, raw in parts.items()}
        parts["checksums.json"] = json.dumps({"format": FORMAT, **sums}).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for part, raw in parts.items():
                archive.writestr(zipfile.ZipInfo(part), raw)
        return buffer.getvalue()

    return pack


def _sums_hold(content):
    """Whether the zip and the sums of its members hold, by the standard library alone."""
    try:
        members = _members(content)
        sums = json.loads(members.pop("checksums.json"))
        return all(sums[name] == sha256(raw).hexdigest() for name, raw in members.items())
    except (OSError, ValueError, KeyError, RuntimeError, EOFError):
        return False
    except (zipfile.BadZipFile, zlib.error, NotImplementedError):
        return False


def onco():
    """A tiny model; unpacked, each member is mutated and the file sealed again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.onco"
        subprocess.run([sys.executable, "-c", MODEL, str(path)], check=True, capture_output=True)
        content = path.read_bytes()
    members = _members(content)
    return [
        Seed(
            f"{name.replace('.', '-')}.onco",
            content,
            300,
            inner=members[name],
            inner_head=min(400, len(members[name])),
            pack=_resealed(members, name),
            sound=_sums_hold,
        )
        for name in members
        if name not in ("LICENSE", "checksums.json")
    ]


FORMATS = {
    "nii": nii,
    "nii.gz": nii_gz,
    "nrrd": nrrd,
    "mha": mha,
    "png": png,
    "jpg": jpg,
    "tif": tif,
    "dicom": dicom,
    "onco": onco,
}
