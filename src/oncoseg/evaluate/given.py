"""One pair given as it is, two arrays or two files: checked, and brought to what is compared.

An array says by its kind what it is: booleans are a mask, whole numbers a label map, fractions a
region's probability, whose mask is where it is a half or more. Nothing is guessed from values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.blocks import layouts
from oncoseg.blocks.extents import extents
from oncoseg.case import Array, Grid, Task, Volume
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.evaluate.inputs import Compared, on_grid, read_prediction, record_of
from oncoseg.evaluate.probabilities import MARK, probability, where
from oncoseg.evaluate.scheme import Regions, Scheme, union
from oncoseg.read import read_label, read_volume

Side = str | Path | Array | Mapping[str, Array]
Sides = tuple[dict[str, Array], dict[str, Array]]
Parts = list[tuple[Scheme, Compared]]
PREDICTION, TRUTH = "the prediction", "the truth"
ARRAYS, MASK = "arrays", "mask"  # the names of a case and of a region that have none
HALF = 0.5
KINDS = {"b": "a mask", "i": "a label map", "u": "a label map", "f": "a probability"}


def is_path(side: Any) -> bool:
    """Whether a side is said by where it lies."""
    return isinstance(side, (str, os.PathLike))


def opened(
    prediction: Side,
    truth: Side,
    spacing: Sequence[float] | None,
    regions: Regions | None,
    *,
    instances: bool,
) -> tuple[str, Parts]:
    """Name of the case, and what is compared: two label maps, or two masks for each region.

    Raises `BadData`, `BadFile` or `BadOption` on what would compare silently wrong.
    """
    paths = [is_path(side) for side in (prediction, truth)]
    if any(paths) and not all(paths):
        both = f"one of {PREDICTION} and {TRUTH} is a path and the other is none"
        raise BadData(f"{both}; give two arrays, two files or two folders")
    if instances and regions is not None:
        raise BadOption("each value is an instance, so there are no regions")
    if all(paths):
        if spacing is not None:
            raise BadOption("files say their own spacing; leave out 'spacing'")
        return _files(Path(str(prediction)), Path(str(truth)), regions, instances=instances)
    sides = _plain(prediction, PREDICTION), _plain(truth, TRUTH)
    grid = _grid([one for side in sides for one in side.values()], spacing)
    return ARRAYS, _parts(sides, ARRAYS, grid, regions, instances=instances)


def _files(
    prediction: Path, truth: Path, regions: Regions | None, *, instances: bool
) -> tuple[str, Parts]:
    """Two files on one grid, compared as their arrays are."""
    for path, other in ((prediction, truth), (truth, prediction)):
        if not path.exists():
            raise BadData(f"{path}: does not exist; check the path")
        if path.is_file() and other.is_dir():
            raise BadData(f"{other} is a folder and {path} a file; give two files or two folders")
    case, task = _told(prediction)
    if task is not None and instances:
        raise BadData(f"{prediction}: holds structures, in which no value is an instance")
    predicted = _read(prediction) if task is None else read_prediction(prediction)
    true = read_label(truth, labels=task.labels if task else None)
    apart = on_grid(predicted, [true])[1]
    if apart:
        raise BadData(apart)
    sides = _plain(predicted.array, str(prediction)), _plain(true.array, str(truth))
    asked = task if regions is None else regions
    parts = _parts(sides, case, predicted.grid, asked, instances=instances)
    if task is not None:
        beside = partial(_beside, prediction, case)
        parts = [(scheme, replace(one, claims=beside)) for scheme, one in parts]
    return case, parts


def _told(path: Path) -> tuple[str, Task | None]:
    """The case of a file, and the task where it is the record of a prediction."""
    if path.suffix != ".json":
        return layouts.stem(path), None
    case, task, failure = record_of(path)
    if task is None:
        raise BadData(failure or f"{path}: is no record of a prediction; give a file of voxels")
    return case, task


def _beside(record: Path, case: str, region: str, grid: Grid) -> Array:
    return probability(where(record, case, region), grid)


def _read(path: Path) -> Volume:
    """A label map, or the probability of one region."""
    if MARK in path.name:
        volume = read_volume(path)
        return Volume(probability(path, volume.grid), volume.grid, path)
    try:
        return read_label(path)
    except BadFile:
        volume = read_volume(path)
        ends = float(volume.array.min()), float(volume.array.max())
        if volume.array.dtype.kind != "f" or ends[0] < 0 or ends[1] > 1:
            raise
        return volume


def _plain(side: Any, what: str) -> dict[str, Array]:
    """The arrays of a side by region; under "" the one of a side that names none."""
    if not isinstance(side, Mapping):
        return {"": _checked(np.asarray(side), what)}
    if not side:
        raise BadData(f"{what} names no region; give an array for each")
    return {str(name): _checked(np.asarray(one), f"{what} of {name}") for name, one in side.items()}


def _checked(array: Array, what: str) -> Array:
    """Raises `BadData` for what is no mask, label map or probability."""
    if array.dtype.kind not in KINDS:
        raise BadData(f"{what} is {array.dtype} of shape {array.shape}; give numbers, or a path")
    if array.ndim not in (2, 3) or not array.size:
        raise BadData(f"{what} has the shape {array.shape}; give two axes or three, with voxels")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if np.isnan(low):
            raise BadData(f"{what} holds NaN, which is no probability; give values from 0 to 1")
        if low < 0 or high > 1:
            cause = f"{what} is {array.dtype} from {low:.4g} to {high:.4g}, no probability"
            raise BadData(f"{cause}; a label map has whole numbers, as 'label.astype(int)'")
    elif array.dtype.kind == "i" and array.min() < 0:
        raise BadData(f"{what} holds {array.min()}; use label values from 0 up")
    return array


def _grid(arrays: Sequence[Array], spacing: Sequence[float] | None) -> Grid:
    """The one grid of these arrays; its spacing is NaN where it is not known."""
    shape = arrays[0].shape
    apart = next((one.shape for one in arrays if one.shape != shape), None)
    if apart is not None:
        raise BadData(f"shapes differ, {shape} and {apart}; bring {PREDICTION} and {TRUTH} "
                      "on one grid, nothing is resampled here")  # fmt: skip
    if spacing is None:
        return Grid(shape, np.diag([*[np.nan] * len(shape), 1.0]))
    lengths = [float(length) for length in np.ravel(spacing)]
    if len(lengths) != len(shape) or not all(0 < length < np.inf for length in lengths):
        raise BadOption(f"'spacing' takes {len(shape)} lengths above 0, in mm, not {spacing}")
    return Grid(shape, np.diag([*lengths, 1.0]))


def _parts(
    sides: Sides, case: str, grid: Grid, regions: Regions | None, *, instances: bool
) -> Parts:
    patient = layouts.patient_of(case)
    kinds = [KINDS[next(iter(side.values())).dtype.kind] for side in sides]
    lone = all("" in side for side in sides)
    if lone and kinds == ["a label map"] * 2:
        scheme = _scheme(sides, regions, instances=instances)
        maps = sides[0][""], sides[1][""]
        with ThreadPoolExecutor(max_workers=2) as pool:
            lying = tuple(pool.map(scheme.check, maps, (PREDICTION, TRUTH)))
        return [(scheme, Compared(patient, "ok", grid, *maps, lying=lying))]
    if instances or (lone and sorted(kinds) == ["a label map", "a mask"]):
        raise BadData(
            f"{PREDICTION} is {kinds[0]}, {TRUTH} {kinds[1]}; give two label maps (whole numbers)"
            + ("" if instances else ", or two masks, as 'label == 1'")
        )
    return [
        _part(patient, grid, region, predicted, true)
        for region, (predicted, true) in _masks(sides, regions).items()
    ]


def _scheme(sides: Sides, regions: Regions | None, *, instances: bool) -> Scheme:
    """The regions of two label maps; each value is one if none are given."""
    if instances:
        return Scheme.of_instances()
    if regions is not None:
        return Scheme.asked(regions)
    values = {value for side in sides for value in extents(side[""])}
    if not values:
        raise BadData("no label map holds a label above 0; say the regions, as {'tumour': (1,)}")
    return Scheme.given({str(value): (value,) for value in sorted(values)})


def _masks(sides: Sides, regions: Regions | None) -> dict[str, tuple[Array, Array]]:
    """Region -> its predicted mask or probability, and its true mask."""
    maps = any(KINDS[one.dtype.kind] == "a label map" for side in sides for one in side.values())
    if regions is not None and not maps:
        raise BadOption(
            "'regions' are values of label maps, and there is no label map; leave it out"
        )
    drawn = [_split(side, what, regions) for side, what in zip(sides, (PREDICTION, TRUTH))]
    predicted, true = drawn
    if "" in sides[0] and len(predicted) == len(true) == 1:
        predicted = dict(zip(true, predicted.values()))
    if predicted.keys() != true.keys():
        names = [", ".join(side) for side in drawn]
        raise BadData(
            f"{PREDICTION} has the regions {names[0]}, {TRUTH} {names[1]}; name them alike"
        )
    for region in true:
        kinds = predicted[region].dtype.kind, true[region].dtype.kind
        if kinds[1] != "b" or kinds[0] not in "bf":
            said = f"{PREDICTION} is {KINDS[kinds[0]]} and {TRUTH} {KINDS[kinds[1]]}"
            raise BadData(f"of region {region} {said}; a truth is a mask, as 'label == 1'")
    return {region: (predicted[region], true[region]) for region in true}


def _split(side: dict[str, Array], what: str, regions: Regions | None) -> dict[str, Array]:
    """Region -> mask or probability; a label map by the values of its regions."""
    one = side.get("")
    if one is None or KINDS[one.dtype.kind] != "a label map":
        return side if one is None else {MASK: one}
    if regions is None:
        cause = f"{what} is a label map; say the values of each region"
        raise BadOption(f"{cause}, as regions={{'tumour': (1, 2)}}")
    asked = Scheme.asked(regions).regions  # other labels may be there: nobody asks for them
    return {region: union(one, values) for region, values in asked.items()}


def _part(
    patient: str, grid: Grid, region: str, drawn: Array, true: Array
) -> tuple[Scheme, Compared]:
    """Two masks as label maps of one region; a probability is kept beside its mask."""
    mask, claims = drawn, None
    if drawn.dtype.kind == "f":
        mask, claims = drawn >= HALF, lambda _region, _grid: drawn.astype(np.float32)
    sides = mask.view(np.uint8), true.view(np.uint8)
    return Scheme.given({region: (1,)}), Compared(patient, "ok", grid, *sides, claims=claims)
