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
from oncoseg.read.bytes import Gzip, affordable, exact, loaded, narrowed

AGAIN = "copy or download it again"
MAGIC = {348: (nibabel.Nifti1Header, b"n+1\0"), 540: (nibabel.Nifti2Header, b"n+2\0")}
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
ORIENT = "export it again with one orientation"
# How far sform and qform may differ at a corner before it is said; rounding makes up to 0.01 mm.
TOLERANCE_MM = 0.1
SLAB = 1 << 22  # voxels scaled at a time


def read(path: Path) -> tuple[Array, Grid, list[str]]:
    """Array (*S) or (*S, channels) as stored, the grid of *S in RAS mm, and notes.

    The sform is taken where its code is above 0, else the qform; a note says where both are stated
    and differ. A file that states neither is refused, and one in which they differ by a flip, since
    left and right would be a guess. Raises `BadFile`.
    """
    try:
        raw = loaded(path)
        stream = Gzip(path, raw) if path.name.lower().endswith(".gz") else None
        header = _header(path, stream.first(540) if stream else bytes(raw[:540]))
        dtype = _dtype(path, header)
        shape = _shape(path, header)
        slope, intercept = _scaling(path, header)
        count = int(np.prod(shape, dtype=object))
        start = int(header.get_data_offset()) or header.single_vox_offset
        stop = start + dtype.itemsize * count
        grid, notes = _grid(path, header, shape)
        content = stream.whole(stop) if stream else exact(path, raw, stop)
        if slope != 1 or intercept or dtype == np.float64:
            affordable(path, stop + 4 * count, len(raw))
    except HeaderDataError as error:
        raise BadFile(path, f"has a broken NIfTI header ({error})", AGAIN) from error
    stored = np.frombuffer(content, dtype=dtype, offset=start)
    values = _values(path, stored, slope, intercept)
    return values.reshape((*grid.shape, *shape[3:]), order="F"), grid, notes


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
        if dtype.kind == "V" and dtype.fields is None:
            raise TypeError(dtype)
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


def _scaling(path: Path, header: Any) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means, by the standard, that nothing is scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0:
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        cause = f"scales its voxels by {slope:g} and {intercept:g} (scl_slope, scl_inter)"
        raise BadFile(path, cause, "correct its header: 1 and 0 where nothing is scaled")
    return slope, intercept


def _grid(path: Path, header: Any, shape: tuple[int, ...]) -> tuple[Grid, list[str]]:
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform, broken = _qform(path, header, shape, needed=sform is None)
    stated = sform if sform is not None else qform
    if stated is None:
        remedy = "export it again with an orientation"
        raise BadFile(path, "does not say how it lies (sform and qform codes are 0)", remedy)
    scale = UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    millimetres = np.array([[scale], [scale], [scale], [1.0]])
    affine = millimetres * np.asarray(stated, dtype=np.float64)
    notes = [broken] if broken else []
    if sform is not None and qform is not None:
        notes += _compared(path, affine, millimetres * qform, (*shape, 1)[:3])
    if len(shape) == 2 and not affine[2, :2].any() and not affine[:2, 2].any():
        affine = np.delete(np.delete(affine, 2, axis=0), 2, axis=1)
        return Grid(shape, affine), notes
    return Grid((*shape, 1)[:3], affine), notes


def _qform(
    path: Path, header: Any, shape: tuple[int, ...], *, needed: bool
) -> tuple[Array | None, str]:
    """The qform if its code is above 0; where another is to be taken, what is wrong with it."""
    if int(header["qform_code"]) <= 0:
        return None, ""
    spacing = [float(length) for length in header["pixdim"][1:4]]
    try:
        if not np.all(np.array(spacing[: len(shape)]) > 0):
            raise BadFile(path, f"has a spacing of {spacing}, not above 0", "export it again")
        affine = np.asarray(header.get_qform(), dtype=np.float64)
        if not np.isfinite(affine).all():
            raise BadFile(path, "has a qform that is not finite", ORIENT)
    except (BadFile, ValueError, HeaderDataError) as error:
        if not needed:
            return None, "its qform makes no sense; the sform was taken"
        if isinstance(error, BadFile):
            raise
        raise BadFile(path, f"has a broken qform ({error})", ORIENT) from error
    return affine, ""


def _compared(path: Path, sform: Array, qform: Array, shape: tuple[int, ...]) -> list[str]:
    """What a reader must know where both forms are stated; nothing if they say the same."""
    if not np.isfinite(sform).all():
        return []
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    there = (sform - qform) @ np.vstack([corners, np.ones(corners.shape[1])])
    apart = float(np.linalg.norm(there, axis=0).max())
    if apart <= TOLERANCE_MM:
        return []
    axes = [
        form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0).clip(1e-12) for form in (sform, qform)
    ]
    if (np.linalg.det(axes[0]) * np.linalg.det(axes[1]) < 0) or _turned(*axes):
        cause = "has an sform and a qform that differ by a flip, so which side is left is unknown"
        raise BadFile(path, cause, ORIENT)
    cosine = (axes[0] * axes[1]).sum(axis=0).clip(-1, 1)
    degrees = float(np.degrees(np.arccos(cosine)).max())
    difference = f"by up to {apart:.3g} mm and {degrees:.2g} degrees"
    return [f"its sform and qform differ {difference}; the sform was taken"]


def _turned(first: Array, second: Array) -> bool:
    """Whether an axis of voxels points to opposite sides of the body."""
    return bool(((first * second).sum(axis=0) < 0).any())


def _values(path: Path, stored: Array, slope: float, intercept: float) -> Array:
    """Whole numbers as they are; all else float32, computed in float64 a slab at a time."""
    native = stored.dtype.newbyteorder("=")
    if slope == 1 and not intercept:
        small = native.kind != "f" or native.itemsize < 8
        return stored.astype(native, copy=False) if small else narrowed(path, stored)
    scaled = np.empty(stored.shape, dtype=np.float32)
    for begin in range(0, stored.size, SLAB):
        piece = slice(begin, begin + SLAB)
        with np.errstate(over="ignore"):  # infinity is refused, not warned of
            exactly = stored[piece].astype(np.float64) * slope + intercept
        scaled[piece] = narrowed(path, exactly)
    return scaled
