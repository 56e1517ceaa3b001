"""NIfTI: the header by nibabel, the length, the checksum and the geometry by ourselves.

Readers in wide use accept flipped bits and fill truncated files with zeros; here a file is whole
or refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile
from oncoseg.read.bytes import Gzip, exact

AGAIN = "copy or download it again"
MAGIC = {348: (nibabel.Nifti1Header, b"n+1\0"), 540: (nibabel.Nifti2Header, b"n+2\0")}
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """Array (*S) or (*S, channels) as stored, and the grid of *S in RAS mm.

    The sform is taken where its code is above 0, else the qform. A file that states neither is
    refused, since left and right would be a guess. Raises `BadFile`.
    """
    try:
        raw = path.read_bytes()
        stream = Gzip(path, raw) if path.name.lower().endswith(".gz") else None
        header = _header(path, stream.first(540) if stream else raw[:540])
        dtype = _dtype(path, header)
        shape = _shape(path, header)
        start = int(header.get_data_offset()) or header.single_vox_offset
        stop = start + dtype.itemsize * int(np.prod(shape, dtype=object))
        grid = _grid(path, header, shape)
        content = stream.whole(stop) if stream else exact(path, raw, stop)
    except HeaderDataError as error:
        raise BadFile(path, f"has a broken NIfTI header ({error})", AGAIN) from error
    stored = np.frombuffer(content, dtype=dtype, offset=start)
    array = stored.reshape((*grid.shape, *shape[3:]), order="F")
    return _values(array, header), grid, []


def _header(path: Path, first: bytes) -> Any:
    sizes = {int.from_bytes(first[:4], order) for order in ("little", "big")}
    size = next((size for size in MAGIC if size in sizes), 0)
    if not size or len(first) < size:
        raise BadFile(path, "is no NIfTI file, or is cut within its header", AGAIN)
    kind, magic = MAGIC[size]
    header = kind(first[:size], check=False)
    if header["magic"].tobytes()[:4].ljust(4, b"\0") != magic:
        remedy = "convert it to a single .nii.gz file"
        raise BadFile(path, "is not a single-file NIfTI (its magic number differs)", remedy)
    offset = float(header["vox_offset"])
    if not (np.isfinite(offset) and (offset == 0 or offset >= header.single_vox_offset)):
        raise BadFile(path, f"puts its voxels at byte {offset:g}, inside the header", AGAIN)
    return header


def _dtype(path: Path, header: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError, TypeError) as error:
        cause = f"has voxels of an unknown type (code {int(header['datatype'])})"
        raise BadFile(path, cause, "convert it to int16 or float32") from error
    if dtype.fields is not None:
        raise BadFile(path, "holds colours (RGB), not a scan", "export each channel by itself")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadFile(path, f"holds {dtype.name} voxels", "convert it to int16 or float32")
    return dtype


def _shape(path: Path, header: Any) -> tuple[int, ...]:
    sizes = [int(size) for size in header["dim"]]
    shape = tuple(sizes[1 : sizes[0] + 1]) if 1 <= sizes[0] <= 7 else ()
    if len(shape) < 2 or min(shape) < 1:
        raise BadFile(path, f"has impossible dimensions {sizes}", AGAIN)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise BadFile(path, f"has {len(shape)} axes {shape}", "export a 3-D or 4-D image")
    return shape


def _grid(path: Path, header: Any, shape: tuple[int, ...]) -> Grid:
    affine = header.get_sform() if int(header["sform_code"]) > 0 else None
    if affine is None and int(header["qform_code"]) > 0:
        if not np.all(header["pixdim"][1:4][: len(shape)] > 0):
            spacing = [float(length) for length in header["pixdim"][1:4]]
            raise BadFile(path, f"has a spacing of {spacing}, not above 0", "export it again")
        affine = header.get_qform()
    if affine is None:
        remedy = "export it again with an orientation"
        raise BadFile(path, "does not say how it lies (sform and qform codes are 0)", remedy)
    scale = UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ np.asarray(affine, dtype=np.float64)
    if len(shape) == 2 and not affine[2, :2].any() and not affine[:2, 2].any():
        affine = np.delete(np.delete(affine, 2, axis=0), 2, axis=1)
        return Grid(shape, affine)
    return Grid((*shape, 1)[:3], affine)


def _values(stored: Array, header: Any) -> Array:
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope == 1 and not intercept):
        native = stored.dtype.newbyteorder("=")
        return stored.astype(np.float32 if native.kind == "f" else native, copy=False)
    scaled = stored.astype(np.float64) * slope + (intercept or 0.0)
    return scaled.astype(np.float32)
