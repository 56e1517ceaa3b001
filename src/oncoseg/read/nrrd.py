"""NRRD: the header by pynrrd, the voxels and the geometry by ourselves."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.bytes import affordable, exact, inflated, narrowed, sibling

AGAIN = "copy or download it again"
# To RAS, by the first word of each axis of the space in which directions are given.
SIGNS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1, "superior": 1, "inferior": -1}
SHORT = {"ras": "right-anterior-superior", "las": "left-anterior-superior"}
SHORT["lps"] = "left-posterior-superior"
TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
DTYPES = {word: code for code, words in TYPES.items() for word in words.split("|")}


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """Array (*S) or (*S, channels) and the grid of *S in RAS mm; raises `BadFile`."""
    with path.open("rb") as handle:
        try:
            header: Any = nrrd.read_header(handle)
        except (nrrd.NRRDError, ValueError, KeyError, StopIteration) as error:
            why = " ".join(str(error).split())
            raise BadFile(path, f"has a broken NRRD header ({why})", AGAIN) from error
        rest = handle.read()
    sizes = tuple(int(size) for size in header.get("sizes", ()))
    dtype = _dtype(path, header)
    if len(sizes) < 3 or min(sizes) < 1:
        raise BadFile(path, f"has sizes {sizes}", "give a 3-D image")
    spatial, affine = _affine(path, header, len(sizes))
    content = _content(path, header, rest, dtype.itemsize * int(np.prod(sizes, dtype=object)))
    array: Array = np.frombuffer(content, dtype=dtype).reshape(sizes, order="F")
    array = np.moveaxis(array, spatial, (0, 1, 2))
    if array.shape[3:] == (1,):
        array = array[..., 0]
    if dtype.kind == "f" and dtype.itemsize > 4:
        array = narrowed(path, array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array, Grid(array.shape[:3], affine), []


def _dtype(path: Path, header: Any) -> np.dtype[Any]:
    code = DTYPES.get(str(header.get("type", "")).lower())
    if code is None:
        cause = f"has voxels of the type '{header.get('type', '')}'"
        raise BadFile(path, cause, "convert it to int16 or float")
    endian = str(header.get("endian", "")).lower()
    if np.dtype(code).itemsize > 1 and endian not in ("little", "big"):
        raise BadFile(path, "does not state its byte order (endian)", "export it again")
    return np.dtype((">" if endian == "big" else "<") + code)


def _encoding(header: Any) -> str:
    return str(header.get("encoding", "")).lower()


def _affine(path: Path, header: Any, axes: int) -> tuple[list[int], Array]:
    """Which axes are spatial, and the affine of these to RAS."""
    space = str(header.get("space", "")).lower()
    words = SHORT.get(space, space).split("-")
    directions, origin = header.get("space directions"), header.get("space origin")
    if len(words) != 3 or any(word not in SIGNS for word in words):
        raise BadFile(path, f"has no patient space (space: '{space}')", "export it with LPS or RAS")
    if directions is None or origin is None or len(directions) != axes:
        cause = "lacks space directions or space origin"
        raise BadFile(path, cause, "export it again with an orientation")
    if any(str(unit) not in ("mm", "") for unit in header.get("space units", ())):
        raise BadFile(path, f"has space units {header['space units']}", "export it in mm")
    rows = [None if row is None else np.asarray(row, dtype=np.float64) for row in directions]
    spatial = [n for n, row in enumerate(rows) if row is not None and not np.isnan(row).any()]
    if len(spatial) != 3 or axes > 4:
        raise BadFile(path, f"has {len(spatial)} axes in space of {axes}", "give a 3-D image")
    affine = np.eye(4)
    affine[:3, :3] = np.array([rows[n] for n in spatial]).T
    affine[:3, 3] = np.asarray(origin, dtype=np.float64)
    # The order of words is always x, y, z; only their signs differ from RAS.
    return spatial, np.diag([*(SIGNS[word] for word in words), 1]) @ affine


def _content(path: Path, header: Any, rest: bytes, count: int) -> bytearray | memoryview:
    detached = header.get("data file", header.get("datafile"))
    if any(
        int(header.get(f"{what} skip", header.get(f"{what}skip", 0))) for what in ("line", "byte")
    ):
        raise BadFile(path, "skips lines or bytes before its voxels", "save it again without")
    if detached is not None:
        rest = sibling(path, str(detached)).read_bytes()
    encoding = _encoding(header)
    if encoding in ("gzip", "gz"):
        return inflated(path, rest, count)
    if encoding in ("bzip2", "bz2"):
        affordable(path, count, len(rest))
        unpacker = bz2.BZ2Decompressor()
        try:
            rest = unpacker.decompress(rest, count + 1)
        except (OSError, ValueError) as error:
            raise BadFile(path, f"is damaged ({error})", AGAIN) from error
        if len(rest) <= count and (not unpacker.eof or unpacker.unused_data):
            raise BadFile(path, "is truncated, or goes on after its voxels", AGAIN)
    elif encoding != "raw":
        raise BadFile(path, f"has the encoding '{encoding}'", "save it as raw or gzip")
    return exact(path, rest, count)
