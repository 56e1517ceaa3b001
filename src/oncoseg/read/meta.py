"""MetaImage (MHA, MHD with RAW): a small strict parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.bytes import Buffer, exact, inflated, loaded, narrowed, sibling

AGAIN = "copy or download it again"
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # as the format defines it, on every system
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
TURNS = ("TransformMatrix", "Rotation", "Orientation")
PLACES = ("Offset", "Position", "Origin")
LONGEST_HEADER = 1 << 16
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """Array (*S) or (*S, channels) and the grid of *S in RAS mm; raises `BadFile`."""
    raw = loaded(path)
    fields, start = _fields(path, bytes(raw[:LONGEST_HEADER]))
    sizes = tuple(int(size) for size in _numbers(path, fields, "DimSize"))
    if len(sizes) not in (3, 4) or len(sizes) != int(fields.get("NDims", 0)) or min(sizes) < 1:
        raise BadFile(path, f"has DimSize {sizes}", "give a 3-D image")
    if sizes[3:] == (1,):
        sizes = sizes[:3]
    depth = int(fields.get("ElementNumberOfChannels", 1))
    dtype = _dtype(path, fields)
    count = dtype.itemsize * depth * int(np.prod(sizes, dtype=object))
    where = fields["ElementDataFile"]
    if where.upper() != "LOCAL":
        raw, start = loaded(sibling(path, where)), 0
    content: Buffer = raw[start:]
    if fields.get("CompressedData", "False").lower() == "true":
        content = inflated(path, raw[start:], count)
    # Colours lie beside each other in each voxel, a fourth axis lies outside of the others.
    stored = np.frombuffer(exact(path, content, count), dtype=dtype)
    array = np.moveaxis(stored.reshape((depth, *sizes), order="F"), 0, -1)
    array = array[..., 0] if depth == 1 else array
    if array.ndim > 4:
        raise BadFile(path, "has both channels and a fourth axis", "split it")
    if dtype.kind == "f" and dtype.itemsize > 4:
        array = narrowed(path, array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array, Grid(sizes[:3], _affine(path, fields)), _assumed(fields)


def _fields(path: Path, raw: bytes) -> tuple[dict[str, str], int]:
    """`Key = value` lines up to ElementDataFile, which is the last, and where they end."""
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = raw.find(b"\n", place, LONGEST_HEADER)
        line = raw[place : end if end >= 0 else LONGEST_HEADER]
        key, equals, value = line.decode("latin-1").partition("=")
        if not equals or (end < 0 and key.strip() != "ElementDataFile"):
            raise BadFile(path, "is no MetaImage, or is cut within its header", AGAIN)
        fields[key.strip()] = value.strip()
        place = end + 1 if end >= 0 else len(raw)
    if fields.get("ObjectType", "Image").lower() != "image":
        raise BadFile(path, f"holds a {fields['ObjectType']}", "give an image")
    if fields.get("BinaryData", "True").lower() != "true":
        raise BadFile(path, "has its voxels as text", "save it as binary")
    if int(_numbers(path, {"HeaderSize": "0", **fields}, "HeaderSize")[0]):
        raise BadFile(path, "has voxels after a foreign header (HeaderSize)", "save it again")
    return fields, place


def _numbers(path: Path, fields: dict[str, str], *keys: str) -> list[float]:
    """The numbers of the first of these keys that is there."""
    text = next((fields[key] for key in keys if key in fields), "")
    try:
        return [float(word) for word in text.split()]
    except ValueError as error:
        raise BadFile(path, f"has {keys[0]} = {text}", "export it again") from error


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    code = TYPES.get(fields.get("ElementType", ""))
    if code is None:
        cause = f"has voxels of the type '{fields.get('ElementType', '')}'"
        raise BadFile(path, cause, "convert it to MET_SHORT or MET_FLOAT")
    order = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    return np.dtype((">" if order.lower() == "true" else "<") + code)


def _assumed(fields: dict[str, str]) -> list[str]:
    """A note of what is not stated, for which the format has a default."""
    absent = [keys[0] for keys in (TURNS, PLACES) if not fields.keys() & {*keys}]
    if not absent:
        return []
    words = f"states no {' and no '.join(absent)}"
    return [f"it {words}; the default of its format was taken: axes to L, P, S from 0, 0, 0"]


def _affine(path: Path, fields: dict[str, str]) -> Array:
    spacing = _numbers(path, fields, "ElementSpacing")
    origin = _numbers(path, fields, *PLACES) or [0.0] * len(spacing)
    turn = _numbers(path, fields, *TURNS)
    turn = turn or list(np.eye(len(spacing)).ravel())
    # A fourth axis of length 1 was dropped from the sizes, not from these.
    axes = len(spacing)
    if axes not in (3, 4) or len(origin) != axes or len(turn) != axes**2 or min(spacing) <= 0:
        cause = "lacks ElementSpacing, Offset or TransformMatrix, or has a spacing not above 0"
        raise BadFile(path, cause, "export it again")
    affine = np.eye(4)
    # The matrix lists the direction of each axis after the other.
    affine[:3, :3] = np.array(turn).reshape(axes, axes)[:3, :3].T * spacing[:3]
    affine[:3, 3] = origin[:3]
    return LPS_TO_RAS @ affine
