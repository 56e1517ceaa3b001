"""Checks of the input: is the tumour whole, and are the images such as the model was made for."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.input_checks import every
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "The Sensitivity Performance of the Human Eye on an Absolute Scale",
    1948,
    doi="10.1364/JOSA.38.000196",
    reading="It asks for five times the noise to tell a structure. 5 mm between slices are of "
    "RECIST 1.1; that half of what is seen may be interpolated, and 5 mm off the middle, are ours.",
)
METHOD = (
    "A check fails where a region reaches the end of the image, or an image ends within one; "
    "slices are more than 5 mm apart (RECIST 1.1); voxels are more than twice as long as in the "
    "training, so that most of what the model saw is interpolated; a sequence is missing; an image "
    "is constant, given twice, or beyond what its unit allows; half of what was found is beyond "
    "99 % of its values in the training; the signal is below 5 times the noise (Rose 1948; "
    "smoothing hides noise); the body is more than 5 mm off the image's middle; shades, sharpness "
    "or layout are as unlike the training's scans as one in twenty of those at most is unlike the "
    "rest (one in ten, if it had few)."
)


class Checks(Finding):
    """Each check is a row with the verdict `ok` or `check`; what fails is also a sentence."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows are facts of the case; of the notes, `warnings` are what fails."""
        found = list(every(prediction, case.images))
        rows = [
            {
                "name": one.name,
                "value": one.value,
                "unit": one.unit,
                "verdict": "check" if one.fault else "ok",
            }
            for one in found
            if one.name
        ]
        notes = [one.fault for one in found if one.fault and not one.noted]
        warnings = [one.fault for one in found if one.fault and one.name and not one.noted]
        section = {"title": "Checks", "method": METHOD, "rows": rows, "notes": notes}
        return section | {"warnings": warnings}
