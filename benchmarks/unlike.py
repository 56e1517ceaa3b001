"""Are scans that a model should not be trusted with called unlike its training, and sound ones not?

    python benchmarks/unlike.py MODEL DATA
    python benchmarks/unlike.py MODEL DATA --other OTHER_DATA

MODEL was trained on DATA with some cases held out (`MODEL.run/held_out.json`). Each of those is
predicted as it is, and with one thing wrong with it: noise, blur, an inverted or bent scale, a bias
field, half of it missing, a third of the resolution along an axis, an axis the wrong way round, two
swapped. Cases of `--other` data sets, whose images are given the names of the model's modalities in
their order, are scans of something else. Prints a line of JSON for each: Dice on the changed scans
(its own label map changed alike), the share called odd, and the area under the ROC curve of the
score against the sound scans. Last, the seconds that looking at an image of 240x240x155 takes.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from oncoseg import Predictor
from oncoseg.blocks.appearance import appearance
from oncoseg.case import Volume
from oncoseg.evaluate import evaluate
from oncoseg.read import find, read_case


def noise(array):
    """As strong as the image's own contrast."""
    return array + np.random.default_rng(0).normal(0, array.std() / 2, array.shape)


def bent(array):
    """Intensities to the power of two."""
    low, range_ = array.min(), np.ptp(array)
    return low + range_ * ((array - low) / range_) ** 2


def biased(array):
    """From 0.4 to 1.6 times as bright along the first axis."""
    return array * np.linspace(0.4, 1.6, len(array)).reshape(-1, *[1] * (array.ndim - 1))


def coarse(array):
    """Every third slice along the last axis, interpolated between."""
    size = array.shape[-1]
    places = np.minimum(np.arange(size) / 3, (size - 1) // 3)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, (size - 1) // 3)
    rows = array[..., ::3]
    return rows[..., low] * (1 - places + low) + rows[..., high] * (places - low)


def half(array):
    """Nothing in the second half of the first axis."""
    return np.where(np.arange(len(array)).reshape(-1, *[1] * (array.ndim - 1)) < len(array) // 2,
                    array, array.min())  # fmt: skip


VALUES = {
    "none": lambda array: array,
    "noise": noise,
    "blurred": lambda array: ndimage.gaussian_filter(array, 1.5),
    "inverted": lambda array: array.max() + array.min() - array,
    "squared": bent,
    "bias field": biased,
    "half missing": half,
    "a third of the slices": coarse,
}
PLACES = {
    "first axis reversed": lambda array: array[::-1],
    "last axis reversed": lambda array: array[..., ::-1],
    "first axes swapped": lambda array: array.swapaxes(0, 1),
}


def moved(volume, change):
    """The voxels elsewhere, on a grid that does not tell."""
    array = np.ascontiguousarray(change(volume.array))
    return Volume(array, replace(volume.grid, shape=array.shape), volume.path)


def wrong(case):
    """What is wrong -> the case with it."""
    for name, change in VALUES.items():
        images = {
            key: replace(one, array=change(one.array.astype(np.float32)).astype(np.float32))
            for key, one in case.images.items()
        }
        yield name, replace(case, images=images)
    for name, change in PLACES.items():
        images = {key: moved(one, change) for key, one in case.images.items()}
        labels = {key: moved(one, change) for key, one in case.labels.items()}
        yield name, replace(case, images=images, labels=labels)


def of(folder, task, named):
    """Cases of a folder, with images `named` as the model's modalities."""
    for source in find(folder).sources:
        case = read_case(source)
        if named:
            case = replace(case, images=dict(zip(task.modalities, case.images.values())))
        yield case


def auroc(sound, odd):
    """The chance that an odd scan's score is above a sound one's."""
    one, other = np.array(odd)[:, None], np.array(sound)[None]
    return float(((one > other) + (one == other) / 2).mean())


class Rows(dict):
    """What is wrong -> what was found of each scan."""

    def __init__(self, predictor):
        self.predictor = predictor

    def add(self, what, case, *, judged):
        """Predict a case, and judge it by its label map."""
        prediction = self.predictor(case)
        row = self.setdefault(what, {"dice": [], "odd": [], "share": [], "aspects": []})
        row["odd"].append(prediction.unlikeness["odd"])
        row["share"].append(prediction.unlikeness["share"])
        row["aspects"] += prediction.unlikeness.get("aspects", [])
        if judged:
            given = prediction.label, case.drawn.array
            means = evaluate(*given, regions=prediction.task, metrics=("dice",)).means
            row["dice"].append(np.mean([one["dice"] for one in means.values()]))

    def line(self, what):
        """One of them in all."""
        row = self[what]
        found = {"what": what, "scans": len(row["odd"]), "called unlike": np.mean(row["odd"])}
        if row["dice"]:
            found["dice"] = np.mean(row["dice"])
        if what != "none":
            found["auroc"] = auroc(self["none"]["share"], row["share"])
        names = sorted({*row["aspects"]}, key=row["aspects"].count, reverse=True)
        shown = {
            key: round(one, 3) if isinstance(one, float) else one for key, one in found.items()
        }
        return {**shown, "in": names}


def looking():
    """Seconds to take the numbers of one image, the median of five times."""
    image = np.random.default_rng(0).normal(0, 1, (240, 240, 155)).astype(np.float32)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        appearance(image, image > -1)
        took.append(time.perf_counter() - began)
    return round(float(np.median(took)), 3)


def main():
    """Predict all, then tell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    rows = Rows(Predictor(asked.model))
    task = rows.predictor.opened.task
    held = json.loads(asked.model.with_suffix(".run").joinpath("held_out.json").read_text())
    for case in of(asked.data, task, named=False):
        for what, changed in wrong(case) if case.id in held else ():
            rows.add(what, changed, judged=True)
    for folder in asked.other:
        for case in of(folder, task, named=True):
            rows.add(folder.name, case, judged=False)
    for what in rows:
        print(json.dumps(rows.line(what)), flush=True)
    print(json.dumps({"seconds an image": looking()}))


if __name__ == "__main__":
    main()
