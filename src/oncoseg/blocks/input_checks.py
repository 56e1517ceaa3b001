"""Checks of what a prediction was made from: each a value, and a sentence on what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from oncoseg.blocks.appearance import LEAST, warning
from oncoseg.blocks.image_quality import (
    ends_touched,
    foreground,
    noise,
    odd_unit,
    right_of_middle,
    times_coarser,
    within,
)
from oncoseg.blocks.planes import slice_axis, unit
from oncoseg.case import Prediction, Volume

Images = Mapping[str, Volume]
THICKEST_MM = 5.0  # between slices, for lesions of 10 mm to be measured (RECIST 1.1, 2009)
COARSEST = 2.0  # beyond it most of what a network sees is interpolated
ROSE = 5.0  # signal to noise at which a structure is told (Rose 1948)
MIDLINE_MM = 5.0  # within it the finding `extent` takes a centre for the middle
NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
RANGE = re.compile(f"{NUMBER} to {NUMBER}")
QUIET = ("pet", "suv", "adc")  # of maps, which are no signal with noise around it


@dataclass(frozen=True)
class Check:
    """A value with its unit, and a sentence on what is wrong with it, "" if nothing is.

    Without a name nothing could be checked, and the sentence says why. It is `noted` if the
    prediction's own notes say it already.
    """

    name: str
    value: float | str = ""
    unit: str = ""
    fault: str = ""
    noted: bool = False


def every(prediction: Prediction, images: Images) -> Iterator[Check]:
    """All checks that prediction and images allow."""
    for check in CHECKS:
        yield from check(prediction, images)
    if not images:
        yield Check("", fault="Images were not checked: none is there any more.")


def field_of_view(prediction: Prediction, images: Images) -> Iterator[Check]:
    """Regions that reach an end of the image."""
    cut = {name: ends_touched(mask, prediction.grid) for name, mask in prediction.masks.items()}
    ends = sorted({end for each in cut.values() for end in each})
    names = ", ".join(name for name, each in cut.items() if each)
    fault = (
        f"The image ends within {names} ({', '.join(ends)}): what lies beyond is not measured, so "
        "sizes are the least that they can be."
    )
    value = f"{names}: {', '.join(ends)}" if ends else "none"
    yield Check("regions cut by the image", value, fault=fault if ends else "")


def coverage(prediction: Prediction, images: Images) -> Iterator[Check]:
    """The least share of what was found that an image holds."""
    found = prediction.label > 0
    if not found.any() or not images:
        return
    count, grid = np.count_nonzero(found), prediction.grid
    shares = {name: len(within(found, grid, one)) / count for name, one in images.items()}
    worst = min(shares, key=lambda name: shares[name])
    percent = 100 * shares[worst]
    fault = f"{worst} covers {percent:.0f} % of what was found; the rest was drawn without it."
    yield Check("tumour covered by every image", percent, "%", fault if shares[worst] < 1 else "")


def slices(prediction: Prediction, images: Images) -> Iterator[Check]:
    """The distance between slices."""
    if prediction.grid.dims == 2:
        return
    apart = prediction.grid.spacing[slice_axis(prediction.grid)[0]]
    fault = (
        f"Slices are {apart:.3g} mm apart, more than the 5 mm of RECIST 1.1: by it lesions are "
        f"measured from {2 * apart:.3g} mm."
    )
    yield Check("distance of slices", apart, "mm", fault if apart > THICKEST_MM else "")


def resolution(prediction: Prediction, images: Images) -> Iterator[Check]:
    """The finest image's voxels beside those of the training, which are of its finest images."""
    if unit(prediction.grid) == "px":
        yield Check("", fault="Pixels were not compared with the training: their size is unknown.")
        return
    ordered = "imported_from" not in prediction.model
    times = times_coarser(prediction.grid, prediction.task.spacing, ordered=ordered)
    fault = (
        f"Voxels are up to {times:.1f} times as long as those of the training: most of what the "
        "model saw was interpolated."
    )
    name = "voxel length beside training"
    yield Check(name, times, "times", fault if times > COARSEST + 1e-3 else "")


def sequences(prediction: Prediction, images: Images) -> Iterator[Check]:
    """Modalities that the model knows and was not given."""
    missing = ", ".join(prediction.missing)
    fault = f"{missing} was not given, so expect less accuracy." if missing else ""
    yield Check("sequences missing", missing or "none", fault=fault, noted=True)


def twins(prediction: Prediction, images: Images) -> Iterator[Check]:
    """Two modalities that hold one image."""
    if len(images) < 2:
        return
    pairs = [
        f"{one} and {other}"
        for one, other in combinations(images, 2)
        if np.array_equal(images[one].array, images[other].array)
    ]
    fault = f"One image stands for {', '.join(pairs)}: was a file given twice?"
    yield Check("image given twice", ", ".join(pairs) or "none", fault=fault if pairs else "")


def values(prediction: Prediction, images: Images) -> Iterator[Check]:
    """The range of each image, and whether it can be that of what it stands for."""
    for name, image in images.items():
        low, high = float(image.array.min()), float(image.array.max())
        fault = odd_unit(name, low, high)
        if low == high:
            fault = "is constant, and shows nothing"
        elif ((image.array == low) | (image.array == high)).all():
            fault = "holds two values alone, as a label map does, which is no image"
        sentence = f"{name} {fault}." if fault else ""
        yield Check(f"range of {name}", f"{low:g} to {high:g}", fault=sentence)


def familiar(prediction: Prediction, images: Images) -> Iterator[Check]:
    """Whether what was found is as bright as it was in the training, where units mean something."""
    found = prediction.label > 0
    for name, image in images.items():
        said = RANGE.fullmatch(prediction.model.get(f"intensities_{name}", ""))
        there = within(found, prediction.grid, image) if said else found[:0]
        if not said or not there.size:
            continue
        low, high = map(float, said.groups())
        middle = float(np.median(there))
        fault = (
            f"Half of what was found has values of {name} beyond {middle:.3g}, where 99 % of the "
            f"training's lay from {low:g} to {high:g}."
        )
        outside = not low <= middle <= high
        yield Check(f"median of {name}", middle, fault=fault if outside else "")


def unlike_training(prediction: Prediction, images: Images) -> Iterator[Check]:
    """How unlike the scans of the training this one is, where the model knows those."""
    told = prediction.unlikeness
    if "share" in told:
        name = f"of {told['cases']} training scans, less unlike the rest"
        yield Check(name, 100 * told["share"], "%", "".join(warning(told)), noted=True)
    else:
        few = f"of its training, {told.get('cases')} have these images, and {LEAST} are needed"
        cause = few if told else "the model does not know its training's scans"
        yield Check("", fault=f"Nothing says how unlike the training this is: {cause}.")


def signal(prediction: Prediction, images: Images) -> Iterator[Check]:
    """The foreground of each image, above air, beside its noise."""
    for name, image in images.items():
        low = float(image.array.min())
        air = -1000.0 if name == "ct" else 0.0
        if name in QUIET or low == image.array.max() or (low < 0 and name != "ct"):
            continue
        inside = foreground(image.array)
        deviation = noise(image, inside)
        if not deviation > 0 or math.isnan(deviation):
            yield Check("", fault=f"The noise of {name} is too low to be measured.")
            continue
        ratio = (float(np.median(image.array[inside])) - air) / deviation
        fault = f"The signal of {name} is {ratio:.1f} times its noise; below 5 structures are lost."
        yield Check(f"signal to noise of {name}", ratio, fault=fault if ratio < ROSE else "")


def centre(prediction: Prediction, images: Images) -> Iterator[Check]:
    """How far the body lies off the middle of the finest image."""
    fitting = [one for one in images.values() if one.grid.same_as(prediction.grid)]
    if prediction.grid.dims == 2 or not fitting:
        return
    off = right_of_middle(foreground(fitting[0].array), prediction.grid)
    side = "right" if off > 0 else "left"
    fault = (
        f"The body lies {abs(off):.0f} mm to the {side} of the image's middle, so the image side "
        "of a region need not be the patient's."
    )
    yield Check("body off the middle", abs(off), "mm", fault if abs(off) > MIDLINE_MM else "")


CHECKS: tuple[Callable[[Prediction, Images], Iterator[Check]], ...] = (
    field_of_view,
    coverage,
    slices,
    resolution,
    sequences,
    twins,
    values,
    familiar,
    signal,
    centre,
    unlike_training,
)
