"""Where each region lies in the brain: side, midline, depth, tissue and structures of an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.blocks import atlas, places
from oncoseg.case import Case, Prediction
from oncoseg.errors import BadData
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "Unbiased average age-appropriate atlases for pediatric studies",
    2011,
    doi="10.1016/j.neuroimage.2010.07.033",
    reading="What is reported follows Raidionics (doi 10.3389/fneur.2022.932219); the rules of "
    "midline and refusal are ours. Template: ICBM 152 2009, (C) Louis Collins, McConnell Brain "
    "Imaging Centre, McGill University, free for any purpose with this notice. No atlas of lobes "
    "comes with it, since none that is free could be had from a package.",
)
PREFERRED = ("t1ce", "t1c", "t1gd", "t1post", "t1", "t1n", "t1w")


class Location(Finding):
    """`atlas` is your label map in MNI space, with its names beside it (.csv, .tsv or .txt)."""

    def __init__(self, *, atlas: str = "") -> None:
        self.atlas = atlas

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a region that is not empty, and of the registration; none where it is refused."""
        method = (
            "An affine registration takes the scan to the ICBM 152 template; left and right are "
            "the patient's, as the file has them; a hemisphere alone is named from "
            f"{places.ONE_SIDED:g} %. The midline is the template's plane of symmetry: crossed if "
            f"{places.LEAST_ML:g} ml lie more than {places.NEAR:g} mm away on both sides; nearer, "
            "a displaced midline cannot be told from a crossed one. Shares of tissue are those of "
            "healthy brains there; the ventricles (lateral, without temporal horns) are the "
            "template's. The surface is that of the brain as it was extracted, folds filled."
        )
        section: dict[str, Any] = {"title": "Location in the brain", "method": method, "rows": []}
        known = atlas.structures(Path(self.atlas)) if self.atlas else None
        masks = {name: mask for name, mask in prediction.masks.items() if mask.any()}
        names = sorted(case.images, key=_rank)
        if prediction.grid.dims != 3 or not names or not masks:
            why = "there is no image of it" if masks else "no region holds a voxel"
            why = why if prediction.grid.dims == 3 else "it is not a volume"
            return section | {"notes": [f"Location in the brain was not assessed: {why}."]}
        scan = case.images[names[0]]
        try:
            inside = atlas.brain(scan)
            found = atlas.located(scan, inside)
        except BadData as error:
            why = str(error).removeprefix(f"{scan.path}: ")
            told = f"{names[0]} cannot be taken to the MNI template: {why}"
            return section | {"notes": [f"Location in the brain was not assessed: {told}."]}
        surroundings = places.Surroundings(scan, inside, found.matrix)
        section["rows"] = [
            {"name": "registered by", "value": names[0], "unit": ""},
            {"name": "outlines agree (Dice)", "value": found.overlap, "unit": ""},
            {"name": "shared information", "value": found.information, "unit": ""},
            {"name": "there and back differ by", "value": found.residual_mm, "unit": "mm"},
        ]
        if known:
            file = Path(self.atlas).name
            section["rows"].append({"name": "structures of", "value": file, "unit": ""})
        section["rows"] += [
            {"region": name, **row}
            for name, mask in masks.items()
            for row in surroundings.rows(mask, prediction.grid, known)
        ]
        return section


def _rank(name: str) -> tuple[int, str]:
    """T1 with contrast, then without, then any."""
    plain = name.lower().replace("-", "").replace("_", "")
    return (PREFERRED.index(plain) if plain in PREFERRED else len(PREFERRED), name)
