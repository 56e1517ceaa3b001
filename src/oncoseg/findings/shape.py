"""Shape of each lesion: how large a ball it would fill, how far it reaches, how round it is."""

from __future__ import annotations

import math
from typing import Any

from oncoseg.blocks.morphology import morphology, unit_of
from oncoseg.blocks.planes import unit
from oncoseg.blocks.segments import lesions
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "The Image Biomarker Standardization Initiative: Standardized Quantitative Radiomics for "
    "High-Throughput Image-based Phenotyping",
    2020,
    doi="10.1148/radiol.2020191145",
    reading="It has no equivalent diameter; here that of a ball (2-D: disc) of the size of the "
    "voxels counted.",
)
FEATURES = ("maximum 3-D diameter", "surface area", "sphericity", "elongation", "flatness")
METHOD = (
    "Equivalent diameter: of a ball as large as the voxels counted. Maximum 3-D diameter and "
    "surface area are of the marching-cubes surface, half a voxel within the outer corners. "
    "Sphericity: the surface of a ball as large, by that surface; a ball of cubic voxels has 0.90 "
    "to 0.92, one in slices of 5 mm about 0.8. Elongation and flatness: the second and third "
    "principal axis by the first, 1 for a ball. Definitions of the Image Biomarker Standardization "
    "Initiative."
)
FLAT = "Equivalent diameter: of a disc as large as the pixels counted."


class Shape(Finding):
    """Of every lesion as the report names them; a region in pieces has no shape of its own."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a lesion; without those that its axes, if one is 0, do not have."""
        flat, length = prediction.grid.dims == 2, unit(prediction.grid)
        rows, notes = [], []
        for lesion in lesions(prediction):
            part = lesion.part
            size = int(part.sum()) * prediction.grid.voxel_volume
            ball = math.sqrt(4 * size / math.pi) if flat else (6 * size / math.pi) ** (1 / 3)
            values = {"equivalent diameter": ball}
            if not flat:
                found = morphology(part, prediction.grid)
                values |= {name: found[name] for name in FEATURES if name in found}
            rows += [
                {"lesion": lesion.name, "name": name, "value": value, "unit": unit_of(name)}
                | ({"unit": length} if flat else {})
                for name, value in values.items()
            ]
        if not rows:
            notes.append("No shape was measured: no lesion of 50 mm³ (2-D: mm² or px) was found.")
        elif flat:
            notes.append("Roundness was not measured: it is defined for volumes alone.")
        method = FLAT if flat else METHOD
        return {"title": "Shape", "method": method, "rows": rows, "notes": notes}
