"""An array and its grid become a file that any viewer puts at the same place.

NIfTI (`.nii`, `.nii.gz`) for volumes and 2-D images, PNG for pictures.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from oncoseg import files
from oncoseg.case import Array, Grid
from oncoseg.errors import BadData, BadFile

MILLIMETRES = 2
SCANNER = 1
STORED = {"bool": np.uint8, "float16": np.float32}


def write_volume(path: Path, array: Array, grid: Grid) -> Path:
    """Write `array` (*S) on `grid` to `path` at once or not at all; returns `path`.

    The ending chooses the format: `.nii.gz` (the same bytes every time), `.nii`, or `.png` for a
    2-D array of whole numbers on the pixel grid. Types are kept, but bool becomes uint8 and
    float16 becomes float32. Raises `BadData` if the array does not fit its grid or holds NaN or
    infinity, `BadFile` if the format cannot hold it.
    """
    path = Path(path)
    array = _fitting(path, array, grid)
    if path.name.lower().endswith(".png"):
        return files.write_bytes(path, _png(path, array, grid))
    return files.write_bytes(path, nifti_bytes(path, array, grid))


def nifti_bytes(path: Path, array: Array, grid: Grid) -> bytes:
    """What `write_volume` puts in a NIfTI file of this name."""
    array, name = _fitting(path, array, grid), path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise BadFile(path, "has an ending that cannot be written", "use .nii.gz, .nii or .png")
    content = _nifti(path, array, grid)
    return gzip.compress(content, compresslevel=4, mtime=0) if name.endswith(".gz") else content


def _fitting(path: Path, array: Array, grid: Grid) -> Array:
    array = np.asarray(array)
    array = array.astype(STORED.get(array.dtype.name, array.dtype), copy=False)
    if array.shape != grid.shape:
        raise BadData(f"{path}: an array of {array.shape} does not fit a grid of {grid.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadData(f"{path}: the array to be written holds NaN or infinity")
    return array


def _nifti(path: Path, array: Array, grid: Grid) -> bytes:
    affine = np.eye(4)
    dims = grid.dims
    affine[:dims, :dims] = grid.affine[:dims, :dims]
    affine[:dims, 3] = grid.affine[:dims, -1]
    try:
        image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    except nibabel.spatialimages.HeaderDataError as error:
        remedy = "convert it to a whole-number or float32 type"
        raise BadFile(path, f"cannot hold {array.dtype} in NIfTI", remedy) from error
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # A quaternion cannot say shear, so a sheared grid is stated by the sform alone.
    rigid = np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=SCANNER if rigid else 0)
    if dims == 3:
        image.header["xyzt_units"] = MILLIMETRES
    return image.to_bytes()


def _png(path: Path, array: Array, grid: Grid) -> bytes:
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        cause = f"cannot hold {array.dtype} of shape {array.shape}"
        raise BadFile(path, cause, "write it as .nii.gz")
    if not np.allclose(grid.affine, np.eye(3)):
        raise BadFile(path, "cannot hold a grid other than pixels", "write it as .nii.gz")
    content = io.BytesIO()
    Image.fromarray(array).save(content, format="PNG")
    return content.getvalue()
