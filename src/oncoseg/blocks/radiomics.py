"""Radiomic features of a region in an image by their families, as the IBSI defines them.

https://doi.org/10.1148/radiol.2020191145; the families stand in blocks of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from oncoseg.blocks.discretise import MOST, Levels, levels, resegmented
from oncoseg.blocks.intensity import (
    PEAK_MM,
    histogram,
    peaks,
    spatial,
    statistics,
    too_large,
    volume_histogram,
)
from oncoseg.blocks.morphology import mesh, morphology, unit_of
from oncoseg.blocks.on_grid import on_grid, widened
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
FEW = 6  # grey levels, of which textures are poor
LONG = 1.5  # times: voxels longer than that are no cubes
Features = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """What is measured and how: `bins` grey levels, or bins of `width` if it is not 0.

    families: joined by `+`, or `all`. merged: one matrix of all directions, not the mean of their
    features. Intensities that are not `within` (least, most), or more than `outliers` standard
    deviations from the mean, are left out; bins of a width then begin at the least. `image` names
    the images that are measured, joined by `+`; all if it is empty. Raises `BadOption`.
    """

    families: str
    bins: int = 32
    width: float = 0.0
    merged: bool = False
    within: tuple[float, ...] = ()
    outliers: float = 0.0
    image: str = ""

    def __post_init__(self) -> None:
        for name in self.families.split("+"):
            if name not in (*FAMILIES, "all"):
                known = ", ".join(FAMILIES)
                raise BadOption(f"option 'families' takes {known} or all, not '{name}'")
        if not 1 <= self.bins <= MOST:
            raise BadOption(f"option 'bins' takes 1 to {MOST}, not {self.bins}")
        for option in ("width", "outliers"):
            if getattr(self, option) < 0:
                found = getattr(self, option)
                raise BadOption(f"option '{option}' takes 0 (none) or more, not {found:g}")
        if self.within and (len(self.within) != 2 or self.within[0] >= self.within[1]):
            raise BadOption("option 'within' takes two numbers, the least first: -500x400")

    @property
    def asked(self) -> list[str]:
        """The families, in their order."""
        chosen = self.families.split("+")
        return [name for name in FAMILIES if name in chosen or "all" in chosen]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest intensity that counts."""
        low, high = self.within or (-math.inf, math.inf)
        return low, high

    @property
    def said(self) -> str:
        """How grey levels and textures are made, in a sentence."""
        ways = "merged" if self.merged else "averaged"
        start = f"{self.within[0]:g}" if self.within else "the least intensity of what is measured"
        kind = f"{self.bins} bins of one size between the least and the largest intensity"
        kind = f"bins {self.width:g} wide from {start}" if self.width else kind
        text = f"Grey levels are {kind}; textures are {ways} over directions."
        if self.within:
            text += f" Intensities count from {self.within[0]:g} to {self.within[1]:g}."
        if self.outliers:
            text += f" Those {self.outliers:g} standard deviations from the mean are left out."
        return text

    @property
    def why_left(self) -> str:
        """Why a part was not measured, as the end of a sentence."""
        limited = self.within or self.outliers
        return "was left out: it lies outside of the image, or has no intensity" + (
            " that counts" if limited else ""
        )


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
    chosen = list(filter(None, settings.image.split("+")))
    notes = [f"There is no image {name} to measure in." for name in chosen if name not in images]
    images = {name: one for name, one in images.items() if not chosen or name in chosen}
    notes += _told(images, grid, settings)
    for part in parts:
        if "morphology" in settings.asked and grid.dims == 3 and not part.prefix:
            found = {"morphology": morphology(part.mask, grid)}
            rows += [{**part.whose, **row} for row in _rows(found, "")]
        if "spatial" in settings.asked and grid.dims == 3 and too_large(part.mask.shape):
            notes.append(f"{part.name} is too large for Moran's I and Geary's C: not measured.")
        for name, image in images.items():
            reach = PEAK_MM if "peaks" in settings.asked else 0.0
            box, mask = widened(part.box, part.mask, reach, grid)
            values = on_grid(image, grid, box)
            kept = resegmented(values, mask, *settings.range, settings.outliers)
            left = 1 - np.count_nonzero(kept) / np.count_nonzero(mask)
            if left:
                notes.append(f"{part.name} in {name}: {left:.1%} of it {settings.why_left}.")
            if settings.width and kept.any() and np.ptp(values[kept]) < FEW * settings.width:
                few = f"bins {settings.width:g} wide make about {FEW} grey levels of it or fewer"
                notes.append(f"{part.name} in {name}: {few}, whose textures say little.")
            try:
                found = measured(values, mask, kept, grid, settings)
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
    asked = [name for name in settings.asked if name != "morphology"]
    if asked and not images:
        notes.append("No image is at hand, so neither intensities nor textures were measured.")
    flat = [name for name in settings.asked if name in IN_SPACE and grid.dims == 2]
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


def measured(image: Array, mask: Array, kept: Array, grid: Grid, settings: Settings) -> Features:
    """Family -> feature -> value in the part of a mask (*S) that was `kept`, {} if that is empty.

    `grid` says how voxels lie, its shape does not matter. Morphology, which needs no image, is not
    measured here. Raises `BadData` for too many grey levels.
    """
    if not kept.any():
        return {}
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "statistics": lambda: statistics(image[kept]),
        "peaks": lambda: peaks(image, kept, grid),
        "spatial": lambda: spatial(image, kept, mesh(np.pad(mask, 1), grid)[0], grid),
    }
    asked = [name for name in settings.asked if grid.dims == 3 or name not in IN_SPACE]
    if not set(asked) <= {"morphology", *ways}:
        bins = 0 if settings.width else settings.bins
        low = settings.within[0] if settings.within else None
        grey = levels(image, kept, bins=bins, width=settings.width, low=low)
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
