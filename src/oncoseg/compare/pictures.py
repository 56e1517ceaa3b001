"""The worst cases as pictures: each algorithm's outline and the truth, in one slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oncoseg.blocks.contours import svg_path
from oncoseg.blocks.modalities import COLOURS
from oncoseg.blocks.planes import PLANES, unit, upright
from oncoseg.case import Array, Grid
from oncoseg.compare.plots import colour
from oncoseg.compare.records import Comparison
from oncoseg.errors import OncosegError
from oncoseg.evaluate.inputs import Inputs, gather
from oncoseg.read import read_case
from oncoseg.report import slices
from oncoseg.report.slices import ACROSS, Frame, Shown, all_shown

MARGIN = 0.35  # of the longer side, on every side
TRUTH = "#FFFFFF"


@dataclass(frozen=True)
class Panel:
    """One algorithm in one case: a picture, or why there is none."""

    algorithm: str
    markup: str
    cause: str = ""


def worst(comparison: Comparison, count: int) -> list[str]:
    """Cases in which the algorithms together are worst, by mean place in the ranked measures."""
    table, badness = comparison.table, []
    for measure in comparison.ranked:
        place = table.measures.index(measure)
        values = table.values[:, place] * (-1 if table.higher[place] else 1)
        flat = np.nan_to_num(values, nan=-np.inf).ravel()
        badness.append(np.searchsorted(np.sort(flat), flat).reshape(values.shape).mean(axis=0))
    sums = np.sum(badness, axis=0)
    return [table.cases[index] for index in np.argsort(-sums, kind="stable")[:count]]


def panels(
    comparison: Comparison, cases: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[list[Panel], str]]:
    """Case -> a panel of each algorithm of `names` and a caption, of the region ranked first."""
    inputs = {}
    for name in names:
        folder = Path(comparison.folders[name])
        try:
            regions = _regions(comparison, name)
            inputs[name] = [gather(folder, Path(t), regions) for t in comparison.truths]
        except OncosegError:
            continue
    known = {region for found in inputs.values() for region in found[0].scheme.regions}
    measures = (*comparison.ranked, *comparison.table.measures)
    region = next((region for region, _ in measures if region in known), "")
    return {case: _case(case, region, inputs, comparison, names) for case in cases}


def _regions(comparison: Comparison, name: str) -> Mapping[str, Sequence[int]] | None:
    """Label values of each region, where they are known without reading every file."""
    if comparison.regions[name]:
        return comparison.regions[name]
    names = {region for region, _ in comparison.table.measures}
    if all(one.isdecimal() for one in names):
        return {one: (int(one),) for one in sorted(names)}
    return None


def _case(
    case: str,
    region: str,
    inputs: dict[str, list[Inputs]],
    comparison: Comparison,
    names: Sequence[str],
) -> tuple[list[Panel], str]:
    masks: dict[str, list[Array]] = {}
    grids: dict[str, Grid] = {}
    for name, every in inputs.items():
        read = [one.read(case) for one in every if case in one.truths]
        if read and all(one.status == "ok" for one in read):
            grids[name] = read[0].grid
            values = list(every[0].scheme.regions[region])
            masks[name] = [
                upright(np.isin(label, values), read[0].grid)[0]
                for label in (read[0].prediction, *(one.truth for one in read))
            ]
    if not grids:
        return [], "No algorithm has a prediction that can be shown."
    grid = next(iter(grids.values()))
    same = {name: drawn for name, drawn in masks.items() if drawn[0].shape == _shape(masks)}
    image = _image(case, inputs, grid)
    plane, index = _slice(list(same.values()))
    found = []
    for name in names:
        if name in same:
            cut = _cut(same, plane, index)
            tint = colour(comparison.table.algorithms.index(name))
            markup = _picture(same[name], cut, plane, index, grid, image, tint)
            found.append(Panel(name, markup))
        else:
            status = comparison.statuses[name].get(case, "missing")
            causes = {"missing": "no prediction", "ok": "cannot be shown"}
            found.append(Panel(name, "", causes.get(status, status)))
    where = "" if grid.dims == 2 else f"{plane} slice {index + 1} of {_shape(masks)[2]}, "
    return found, f"{where}region {region}" + ("" if image else "; no image was found")


def _shape(masks: dict[str, list[Array]]) -> tuple[int, ...]:
    shape: tuple[int, ...] = next(iter(masks.values()))[0].shape
    return shape


def _slice(masks: list[list[Array]]) -> tuple[str, int]:
    """The axial slice in which algorithms and truths differ most, else where a truth is widest."""
    if masks[0][0].ndim == 2:
        return "image", 0
    wrong = sum((one ^ true).sum(axis=(0, 1)) for one, *truths in masks for true in truths)
    if not np.any(wrong):
        wrong = masks[0][1].sum(axis=(0, 1))
    return "axial", int(np.argmax(wrong))


def _flat(array: Array, plane: str, index: int) -> Array:
    return array if plane == "image" else slices.picture_of(array, plane, index)


def _cut(masks: dict[str, list[Array]], plane: str, index: int) -> tuple[slice, slice]:
    """Rows and columns around all that is drawn."""
    drawn = np.any(
        [_flat(mask, plane, index) for found in masks.values() for mask in found], axis=0
    )
    if not drawn.any():
        drawn = np.ones_like(drawn)
    sides = []
    for axis in (0, 1):
        there = np.flatnonzero(drawn.any(axis=1 - axis))
        sides.append((int(there[0]), int(there[-1]) + 1))
    margin = max(6, round(MARGIN * max(stop - start for start, stop in sides)))
    rows, columns = (
        slice(max(0, start - margin), min(size, stop + margin))
        for (start, stop), size in zip(sides, drawn.shape)
    )
    return rows, columns


def _image(case: str, inputs: dict[str, list[Inputs]], grid: Grid) -> Shown | None:
    """An image of the case on the grid of its prediction, of the truth's data set."""
    found = (one.truths.get(case) for every in inputs.values() for one in every)
    for source in filter(None, found):
        alone = replace(source, labels={}, weights=())
        for name in source.images:
            modalities = COLOURS if name in COLOURS else (name,)
            images = read_case(alone, modalities=modalities, failures=[]).images
            there = {key: image for key, image in images.items() if image.grid.same_as(grid)}
            for shown in all_shown(there).values():
                return shown
    return None


def _picture(
    masks: list[Array],
    cut: tuple[slice, slice],
    plane: str,
    index: int,
    grid: Grid,
    image: Shown | None,
    tint: str,
) -> str:
    predicted, *truths = (_flat(mask, plane, index)[cut] for mask in masks)
    steps = _steps(grid, plane)
    grey: Array = np.full(predicted.shape, 40, dtype=np.uint8)
    if image:
        grey = image.greys(_flat(image.array, plane, index)[cut].astype(np.float32))
    wide, high = grey.shape[1] * steps[0], grey.shape[0] * steps[1]
    frame = Frame(plane, index, 0.0, 0.0, wide, high)
    place = f"scale({steps[0] / 2:.5f} {steps[1] / 2:.5f})"
    inside = slices.image_tag(grey, (0, 0, wide, high), 300)
    thin = 2.2 if len(truths) == 1 else 1.2
    inside += slices.outlines(
        [*((svg_path(true), TRUTH, thin) for true in truths), (svg_path(predicted), tint, 2.2)],
        place,
    )
    inside += slices.furniture(frame, unit(grid), letters=plane in PLANES)
    return slices.svg(frame, inside, "outline of the prediction and of the truth")


def _steps(grid: Grid, plane: str) -> tuple[float, float]:
    """Width and height of a pixel of the picture, in mm."""
    if plane == "image":
        return float(grid.spacing[1]), float(grid.spacing[0])
    empty = np.zeros(grid.shape, dtype=bool)
    turned = upright(empty, grid)[1].spacing
    across = ACROSS[plane]
    return float(turned[across[0]]), float(turned[across[1]])
