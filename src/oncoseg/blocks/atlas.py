"""The brain in MNI space: a template, where a patient's points lie in it, and what lies there.

The template is the symmetric ICBM 152 of 2009, brain alone, with its tissue maps, as the package
nilearn ships it. Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal
Neurological Institute, McGill University, who permit use, copying, modification and distribution
for any purpose and without fee, provided that this notice appears in all copies.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

from oncoseg.blocks.extents import extents
from oncoseg.blocks.registration import Registration, register
from oncoseg.case import Array, Grid, Volume
from oncoseg.errors import BadData, BadFile
from oncoseg.extras import require

FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
GROUND, LEVEL = 0.2, 0.01  # share of a scan that is ground, and how far from its value it may be
SMALLEST_ML, LARGEST_ML = 600, 2200  # brains of children to those of large men, with fluid
LEAST_OVERLAP, LEAST_INFORMATION, MOST_RESIDUAL = 0.88, 0.30, 10.0
SCALES = (0.75, 1.45)  # of a brain's axes to those of the template
SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Template:
    """T1 of the average brain on a grid of 1 mm in MNI space, x = 0 being the plane of symmetry.

    tissue: shares (X, Y, Z) of grey matter, white matter and CSF, which sum to 1 in the brain.
    ventricles: of the lateral ventricles (bodies, frontal and occipital horns), bool.
    """

    scan: Volume
    tissue: Mapping[str, Array]
    ventricles: Array


@dataclass(frozen=True)
class Structures:
    """A label map (X, Y, Z) in MNI space and the name of each of its values but 0."""

    labels: Volume
    names: Mapping[int, str]


@cache
def template() -> Template:
    """Read it from nilearn, importing nothing of that; raises `MissingExtra` without it."""
    found = find_spec("nilearn")
    folder = Path(next(iter((found and found.submodule_search_locations) or [""])))
    if not (found and (folder / FILE.format("t1")).exists()):
        require("nilearn.datasets", "report")
    scan, grey, white = (_volume(folder / FILE.format(name)) for name in ("t1", "gm", "wm"))
    inside = scan.array > 0
    share = {"grey matter": grey.array / 255, "white matter": white.array / 255}
    share = {name: np.where(inside, part, 0).astype(np.float32) for name, part in share.items()}
    share["CSF"] = np.where(inside, 1 - sum(share.values()), 0).astype(np.float32)
    pools, _ = ndimage.label(share["CSF"] > 0.5)
    deep = tuple(np.round(np.linalg.inv(scan.grid.affine) @ [8, -6, 20, 1]).astype(int)[:3])
    return Template(scan, share, pools == pools[deep])


def brain(scan: Volume) -> Array:
    """The brain (X, Y, Z) of a scan that shows nothing else, on a ground of one value.

    Holes are filled. Raises `BadData` for anything else: with a skull, of another part, or a part
    of a brain alone.
    """
    if scan.grid.dims != 3 or scan.array.ndim != 3:
        raise BadData("it is not a volume")
    array = np.nan_to_num(scan.array.astype(np.float32))
    faces = [np.take(array, (0, -1), axis=axis).ravel() for axis in range(3)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    away = np.abs(array - values[counts.argmax()])
    mask = away > LEVEL * np.percentile(away, 99.5)
    if mask.mean() > 1 - GROUND:
        raise BadData("it is not brain alone on an even ground (is the skull still there?)")
    pieces, _ = ndimage.label(mask)
    mask = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax() if pieces.any() else mask
    box = extents(mask).get(1, (slice(0, 0),) * 3)
    mask[box] = ndimage.binary_fill_holes(mask[box])
    ml = int(mask.sum()) * scan.grid.voxel_volume / 1000
    if not SMALLEST_ML <= ml <= LARGEST_ML:
        size = f"{ml:.0f} ml, a brain {SMALLEST_ML} to {LARGEST_ML} ml"
        raise BadData(f"what it shows measures {size} (is the skull, or a part alone, in it?)")
    return np.asarray(mask)


def located(scan: Volume, inside: Array) -> Registration:
    """Where the points of a brain (`inside`, X, Y, Z) lie in MNI space.

    Raises `BadData` if the template does not fit it well: then it may be no brain, or turned.
    """
    low, high = np.percentile(scan.array[inside], [0.5, 99.5])
    lifted = scan.array.astype(np.float32) - (low - 0.1 * (high - low))  # ground is darkest
    found = register(
        Volume(np.where(inside, np.maximum(lifted, 0), 0), scan.grid, scan.path),
        template().scan,
        kind="affine",
    )
    scales = np.linalg.svd(found.matrix[:3, :3], compute_uv=False)
    if found.overlap < LEAST_OVERLAP:
        raise BadData(f"outlines agree with Dice {found.overlap:.2f} alone")
    if found.information < LEAST_INFORMATION:
        raise BadData(f"it shares too little information with it ({found.information:.2f})")
    if found.residual_mm > MOST_RESIDUAL:
        raise BadData(f"there and back differ by {found.residual_mm:.0f} mm")
    if scales.min() < SCALES[0] or scales.max() > SCALES[1] or np.linalg.det(found.matrix) < 0:
        raise BadData(f"it would have to be stretched by {scales.max():.2f}")
    return found


def structures(path: Path) -> Structures:
    """Read a label map in MNI space and the table of names beside it (.csv, .tsv or .txt).

    Its rows start with a value and a name; others are passed over. Values of one name are one
    structure. Raises `BadFile` if a value has no name, or if it is not a map of the template.
    """
    labels = _volume(path)
    stem = re.sub(r"\.(nii|nii\.gz)$", "", path.name)
    tables = [path.with_name(name + end) for name in (stem, f"{stem}.nii") for end in SUFFIXES]
    table = next((one for one in tables if one.exists()), None)
    if table is None:
        remedy = f"put a table of values and names beside it, {stem}.csv"
        raise BadFile(path, "has no names of its values", remedy)
    names = _names(table)
    held = np.unique(labels.array)
    if not np.array_equal(held, np.round(held)):
        raise BadFile(path, "has values that are no whole numbers", "give a label map")
    values = {int(value) for value in held} - {0}
    if values - names.keys():
        missing = ", ".join(map(str, sorted(values - names.keys())[:5]))
        raise BadFile(table, f"names no structure {missing} of {path.name}", "add its row")
    brain_points = np.argwhere(template().scan.array > 0)[::50]
    affine = template().scan.grid.affine
    hit = at(labels.array, labels.grid, brain_points @ affine[:3, :3].T + affine[:3, 3]) > 0
    marked = np.argwhere(labels.array > 0)[::50]
    grid = labels.grid
    points = marked @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    within = at(template().scan.array, template().scan.grid, points) > 0
    if hit.mean() < 0.2 or within.mean() < 0.8:
        remedy = "give a label map in MNI space"
        raise BadFile(path, "does not lie on the brain of the MNI template", remedy)
    return Structures(labels, {value: names[value] for value in values})


def at(array: Array, grid: Grid, points: Array) -> Array:
    """Values of the voxels that points (N, 3) in mm lie in; 0 outside."""
    inverse = np.linalg.inv(grid.affine)
    index = np.round(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    found = np.zeros(len(points), dtype=array.dtype)
    found[inside] = array[tuple(index[inside].T)]
    return found


def _names(table: Path) -> dict[int, str]:
    """Value -> name, from rows `value, name`, divided by commas, tabs or blanks."""
    text = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    tabs = (line.split("\t") if "\t" in line else line.split() for line in text)
    rows = csv.reader(text) if table.suffix == ".csv" else tabs
    named = ([cell.strip() for cell in row] for row in rows if len(row) > 1)
    return {int(row[0]): row[1] for row in named if row[0].isdecimal() and row[1]}


def _volume(path: Path) -> Volume:
    try:
        image = nibabel.Nifti1Image.from_filename(path)
        array, affine = np.asarray(image.dataobj), image.affine
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        cause = f"cannot be read as NIfTI ({type(error).__name__})"
        raise BadFile(path, cause, "give a label map as .nii or .nii.gz") from error
    if array.ndim != 3 or affine is None:
        raise BadFile(path, "is not one volume", "give a label map of three axes")
    return Volume(array, Grid(array.shape, affine), path)
