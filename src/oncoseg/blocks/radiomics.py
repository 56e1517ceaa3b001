"""Radiomic features of a region in an image by their families, as the IBSI defines them.

https://doi.org/10.1148/radiol.2020191145; the families stand in blocks of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.discretise import MOST, Levels, levels, resegmented
from oncoseg.blocks.intensity import (
    PEAK_MM,
    histogram,
    peaks,
    spatial,
    statistics,
    volume_histogram,
)
from oncoseg.blocks.morphology import mesh, morphology, unit_of
from oncoseg.blocks.texture_glcm import glcm
from oncoseg.blocks.texture_glrlm import glrlm
from oncoseg.blocks.texture_neighbours import ngldm, ngtdm
from oncoseg.blocks.texture_zones import depth, gldzm, glszm, zones
from oncoseg.case import Array, Grid, Volume
from oncoseg.errors import BadData, BadOption

IN_SPACE = ("morphology", "peaks", "spatial")  # that are defined in 3-D alone
TEXTURES = ("glcm", "glrlm", "glszm", "gldzm", "ngtdm", "ngldm")
FAMILIES = ("morphology", "statistics", "histogram", "ivh", "peaks", "spatial", *TEXTURES)
WORDS = {name: f"{name.upper()} " for name in TEXTURES} | {"histogram": "histogram "}
LONG = 1.5  # times: voxels longer than that are no cubes
Features = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """What is measured and how: `bins` grey levels a region, or bins of `width` if it is not 0.

    `merged` makes one matrix of all directions; otherwise features are averaged over directions.
    """

    families: Sequence[str]
    bins: int = 32
    width: float = 0.0
    merged: bool = False

    @classmethod
    def of(cls, families: str, bins: int, width: float, *, merged: bool = False) -> Settings:
        """From options, families as `glcm+glrlm` or `all`: raises `BadOption`."""
        asked = families.split("+")
        for name in asked:
            if name not in (*FAMILIES, "all"):
                known = ", ".join(FAMILIES)
                raise BadOption(f"option 'families' takes {known} or all, not '{name}'")
        if not 1 <= bins <= MOST:
            raise BadOption(f"option 'bins' takes 1 to {MOST}, not {bins}")
        if width < 0:
            raise BadOption(f"option 'width' takes 0 (none) or more, not {width:g}")
        return cls([one for one in FAMILIES if one in asked or "all" in asked], bins, width, merged)

    @property
    def said(self) -> str:
        """How grey levels and textures are made, in a sentence."""
        ways = "merged" if self.merged else "averaged"
        kind = f"{self.bins} bins of one size between the least and the largest intensity"
        if self.width:
            kind = f"bins {self.width:g} wide from the least intensity"
        return f"Grey levels are {kind} of what is measured; textures are {ways} over directions."


@dataclass(frozen=True)
class Part:
    """Something to be measured: `whose` names it in a row, `prefix` goes before its features.

    It is where `mask` is, which fills `box` of the grid.
    """

    whose: dict[str, str]
    box: tuple[slice, ...]
    mask: Array
    prefix: str = ""

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return " ".join(filter(None, [*self.whose.values(), self.prefix.strip()]))


def tabled(
    parts: Iterable[Part], images: Mapping[str, Volume], grid: Grid, settings: Settings
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of every part in every image, which they name, and sentences on what was not measured.

    A row also holds its `family` and, but for shape, the name of its `image`.
    """
    rows: list[dict[str, Any]] = []
    notes = _told(images, grid, settings)
    for part in parts:
        if "morphology" in settings.families and grid.dims == 3 and not part.prefix:
            found = {"morphology": morphology(part.mask, grid)}
            rows += [{**part.whose, **row} for row in _rows(found, "")]
        for name, image in images.items():
            box, mask = (
                _widened(part, grid) if "peaks" in settings.families else (part.box, part.mask)
            )
            values = on_grid(image, grid, box)
            known = np.count_nonzero(np.isfinite(values[mask])) / np.count_nonzero(mask)
            if known < 1:
                left = f"{1 - known:.1%} of it lies outside of the image or has no intensity there"
                notes.append(f"{part.name} in {name}: {left}, and was not measured.")
            try:
                found = measured(values, mask, grid, settings)
            except BadData as error:
                notes.append(f"{part.name} in {name} was not measured: {error}.")
                continue
            rows += [
                {**part.whose, **row, "image": name}
                for row in _rows(found, f"{name} {part.prefix}")
            ]
    return rows, notes


def _rows(found: Features, prefix: str) -> Iterator[dict[str, Any]]:
    for family, features in found.items():
        for name, value in features.items():
            unit = unit_of(name) if family in IN_SPACE else ""
            told = prefix + WORDS.get(family, "") + name
            yield {"name": told, "value": value, "unit": unit, "family": family}


def _told(images: Mapping[str, Volume], grid: Grid, settings: Settings) -> list[str]:
    """What holds for all that is measured."""
    notes = []
    asked = [name for name in settings.families if name != "morphology"]
    if asked and not images:
        notes.append("No image is at hand, so neither intensities nor textures were measured.")
    flat = [name for name in settings.families if name in IN_SPACE and grid.dims == 2]
    if flat:
        notes.append(f"Defined in space alone and not measured: {', '.join(flat)}.")
    apart = [name for name, image in images.items() if not image.grid.same_as(grid)]
    if apart and asked:
        notes.append(
            f"{', '.join(apart)}: resampled linearly onto the grid of the prediction before "
            "features were measured, which smooths intensities."
        )
    long = max(grid.spacing) / min(grid.spacing)
    if long > LONG and set(TEXTURES) & set(asked) and images:
        notes.append(
            f"Voxels are {long:.1f} times as long as wide, and textures take them as they are: "
            "compare only with scans of this spacing."
        )
    return notes


def _widened(part: Part, grid: Grid) -> tuple[tuple[slice, ...], Array]:
    """The part's box with all around it that peaks of intensity need, and its mask there."""
    reach = np.ceil(PEAK_MM * np.linalg.norm(np.linalg.inv(grid.affine[:-1, :-1]), axis=1))
    before = [min(side.start, int(more)) for side, more in zip(part.box, reach)]
    after = [
        min(size - side.stop, int(more)) for side, more, size in zip(part.box, reach, grid.shape)
    ]
    edges = zip(part.box, before, after)
    box = tuple(slice(side.start - less, side.stop + more) for side, less, more in edges)
    return box, np.pad(part.mask, list(zip(before, after)))


def on_grid(image: Volume, grid: Grid, box: tuple[slice, ...]) -> Array:
    """An image in a box of a grid, float64; resampled linearly (outside: NaN) if it lies apart."""
    if image.grid.same_as(grid):
        return image.array[box].astype(np.float64)
    across = np.linalg.inv(image.grid.affine) @ grid.affine
    matrix = across[:-1, :-1]
    offset = matrix @ [side.start for side in box] + across[:-1, -1]
    shape = tuple(side.stop - side.start for side in box)
    return ndimage.affine_transform(
        image.array, matrix, offset, shape, np.float64, order=1, cval=np.nan
    )


def measured(image: Array, mask: Array, grid: Grid, settings: Settings) -> Features:
    """Family -> feature -> value where a mask (*S) holds finite voxels of an image, {} if none.

    `grid` says how voxels lie, its shape does not matter. Morphology, which needs no image, is not
    measured here. Raises `BadData` for too many grey levels.
    """
    kept = resegmented(image, mask)
    if not kept.any():
        return {}
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "statistics": lambda: statistics(image[kept]),
        "peaks": lambda: peaks(image, kept, grid),
        "spatial": lambda: spatial(image, kept, mesh(np.pad(mask, 1), grid)[0], grid),
    }
    asked = [name for name in settings.families if grid.dims == 3 or name not in IN_SPACE]
    if not set(asked) <= {"morphology", *ways}:
        bins = 0 if settings.width else settings.bins
        grey = levels(image, kept, bins=bins, width=settings.width)
        ways |= _of_levels(grey, mask, kept, settings.merged)
    return {name: found for name in asked if name in ways and (found := ways[name]())}


def _of_levels(
    grey: Levels, mask: Array, kept: Array, merged: bool
) -> dict[str, Callable[[], dict[str, float]]]:
    zoned = cache(lambda: zones(grey))
    return {
        "histogram": lambda: histogram(grey.values),
        "ivh": lambda: volume_histogram(grey.values),
        "glcm": lambda: glcm(grey, merged=merged),
        "glrlm": lambda: glrlm(grey, merged=merged),
        "glszm": lambda: glszm(zoned()),
        "gldzm": lambda: gldzm(zoned(), depth(mask)[kept]),
        "ngtdm": lambda: ngtdm(grey),
        "ngldm": lambda: ngldm(grey),
    }
