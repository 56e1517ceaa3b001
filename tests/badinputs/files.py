"""Good files of every format, and ways to break them."""

import bz2
import gzip
import io
import struct
import zlib

import nibabel
import numpy as np
from PIL import Image

ARRAY = np.random.default_rng(7).integers(-1000, 2000, (10, 11, 9), dtype=np.int16)
AFFINE = np.array([[-1.0, 0, 0, 11], [0, -1.5, 0, 12], [0, 0, 2, 13], [0, 0, 0, 1]])
Y, X = np.mgrid[:48, :40]
PICTURE = (127 + 60 * np.sin(Y / 9) + 50 * np.cos(X / 7)).astype(np.uint8)
PIXELS = np.eye(3)


def nii(folder, name="t1.nii.gz", array=ARRAY, affine=AFFINE, **header):
    """A NIfTI file, with fields of its header set behind the writer's back."""
    whole = nibabel.Nifti1Image(array, affine, dtype=array.dtype).to_bytes()
    fields = nibabel.Nifti1Header(whole[:348])
    for key, value in header.items():
        fields[key] = value
    return packed(folder / name, fields.binaryblock + whole[348:])


def packed(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def forms(folder, sform=AFFINE, qform=AFFINE, codes=(1, 1), **header):
    """A NIfTI file with both of its orientations stated."""
    image = nibabel.Nifti1Image(ARRAY, AFFINE)
    image.set_sform(sform, code=codes[0])
    image.set_qform(qform, code=codes[1])
    for key, value in header.items():
        image.header[key] = value
    return packed(folder / "t1.nii.gz", image.to_bytes())


def nrrd(folder, array=ARRAY, *, voxels=None, name="t1.nrrd", **changes):
    """An NRRD file; `voxels` replace the raw ones."""
    linear = np.diag([-1.0, -1.0, 1.0]) @ AFFINE[:3]
    fields = {
        "type": "int16",
        "dimension": array.ndim,
        "sizes": " ".join(map(str, array.shape)),
        "endian": "little",
        "encoding": "raw",
        "space": "left-posterior-superior",
        "space directions": " ".join(
            f"({','.join(map(str, column))})" for column in linear[:, :3].T
        ),
        "space origin": f"({','.join(map(str, linear[:, 3]))})",
        **{key.replace("_", " "): value for key, value in changes.items()},
    }
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    head = "\n".join(["NRRD0005", *lines, "", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    content = array.tobytes(order="F") if voxels is None else voxels
    (folder / name).write_bytes(head + content)
    return folder / name


def mha(folder, array=ARRAY, *, voxels=None, name="t1.mha", **changes):
    """A MetaImage file; a field of None is left out."""
    linear = np.diag([-1.0, -1.0, 1.0]) @ AFFINE[:3]
    spacing = np.linalg.norm(linear[:, :3], axis=0)
    fields = {
        "ObjectType": "Image",
        "NDims": array.ndim,
        "BinaryData": "True",
        "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, (linear[:, :3] / spacing).T.ravel())),
        "Offset": " ".join(map(str, linear[:, 3])),
        "ElementSpacing": " ".join(map(str, spacing)),
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": "MET_SHORT",
        **changes,
    }
    fields.setdefault("ElementDataFile", "LOCAL")
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # the last line of the header
    head = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    folder.mkdir(parents=True, exist_ok=True)
    content = array.tobytes(order="F") if voxels is None else voxels
    (folder / name).write_bytes(head.encode() + content)
    return folder / name


def picture(folder, name="t1.png", array=PICTURE, **options):
    folder.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(folder / name, **options)
    return folder / name


def raw(array=ARRAY):
    return array.tobytes(order="F")


def deflated(array=ARRAY):
    return zlib.compress(raw(array))


def squeezed(array=ARRAY):
    return bz2.compress(raw(array))


def cut(path, share=0.5):
    """Without its end: a share of it, or so many bytes if below 0."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))] if share >= 0 else whole[: int(share)])
    return path


def bent(path, place=0.5, bit=3):
    """With one bit turned over."""
    whole = bytearray(path.read_bytes())
    whole[int(place * len(whole)) if place >= 0 else int(place)] ^= 1 << bit
    path.write_bytes(whole)
    return path


def blank(path, start=0.4, stop=0.6):
    """With zeros over a part of it, as a disk that failed leaves them."""
    whole = bytearray(path.read_bytes())
    first, last = (int(share * len(whole)) for share in (start, stop))
    whole[first:last] = bytes(last - first)
    path.write_bytes(whole)
    return path


def longer(path, more=b"more"):
    path.write_bytes(path.read_bytes() + more)
    return path


def swapped(path, old, new):
    """With some of its bytes replaced."""
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    return path


def bomb(folder):
    """A gzip file of 4 MB that would unpack to 3 GB."""
    head = gzip.decompress(nii(folder, dim=[3, 1100, 1100, 1200, 1, 1, 1, 1]).read_bytes())[:352]
    piece = gzip.compress(bytes(1 << 22), mtime=0)
    (folder / "t1.nii.gz").write_bytes(gzip.compress(head, mtime=0) + piece * 700)
    return folder / "t1.nii.gz"


def wide_png(folder):
    """A PNG of a few bytes that says that it has 60000 x 60000 pixels."""
    content = io.BytesIO()
    Image.fromarray(PICTURE).save(content, format="PNG")
    whole = bytearray(content.getvalue())
    whole[16:24] = struct.pack(">II", 60000, 60000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t1.png").write_bytes(whole)
    return folder / "t1.png"
