"""RANO 2.0: perpendicular diameters, products and volumes of enhancing and other lesions."""

from __future__ import annotations

import math
from typing import Any

from oncoseg.blocks.planes import unit
from oncoseg.blocks.region_names import enhancing, not_enhancing, outermost
from oncoseg.blocks.target_lesions import Measured, measured, rano_measurable, rano_targets
from oncoseg.blocks.target_rows import doubts, left_out, lines, listed, sized, unknown
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "RANO 2.0: Update to the Response Assessment in Neuro-Oncology Criteria for High- and "
    "Low-Grade Gliomas in Adults",
    2023,
    doi="10.1200/JCO.23.01059",
    reading="Three targets, and minor response by volume, could not be verified; two slices, and "
    "twice their distance above 5 mm, are of the criteria of 2010.",
)
METHOD = (
    "Longest line between outer voxel corners of one piece in the acquired slices, and the longest "
    "at right angles to it there, both within the convex hull: necrosis or a cavity within a ring "
    "is measured with it, which is for a reader to correct. Measurable: both from 10 mm (twice the "
    "distance of slices where that is above 5 mm), in two slices or more. Suggested targets: the "
    "three largest measurable. ± is what voxels leave open of a diameter."
)


class Rano(Finding):
    """`enhancing` and `other` name regions, joined by `+`; told by their names if empty."""

    def __init__(self, *, enhancing: str = "", other: str = "") -> None:
        self.enhancing, self.other = listed(enhancing), listed(other)

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a lesion, before them the sums over the targets; 2-D has no volumes."""
        section: dict[str, Any] = {"title": "RANO 2.0", "method": METHOD, "rows": []}
        if unit(prediction.grid) == "px":
            return section | {"notes": ["RANO 2.0 was not assessed: pixels have no known size."]}
        task, notes = prediction.task, []
        kinds = {
            "enhancing": self.enhancing or enhancing(task),
            "non-enhancing": self.other or not_enhancing(task),
        }
        for kind, asked in kinds.items():
            notes += unknown(f"Option for {kind}:", asked, task.regions)
            regions = outermost(task, [name for name in asked if name in task.regions])
            found = measured(prediction, regions)
            section["rows"] += _rows(found, kind, flat=prediction.grid.dims == 2)
            notes += left_out(found, regions, prediction) + doubts(found, prediction)
            if not regions:
                notes.append(f"RANO 2.0 of {kind} tumour was not assessed: no region is named so.")
            elif not rano_targets(found):
                notes.append(f"RANO 2.0: no measurable {kind} lesion, so no sum.")
        section["rows"].sort(key=lambda row: "lesion" in row)
        return section | {"notes": list(dict.fromkeys(notes))}


def _rows(found: dict[str, Measured], kind: str, *, flat: bool) -> list[dict[str, Any]]:
    """Sums over the suggested targets, then each lesion."""
    targets = rano_targets(found)
    rows: list[dict[str, Any]] = []
    if targets:
        chosen = [found[name] for name in targets]
        wrong = math.hypot(*(one.error * math.hypot(one.long, one.short) for one in chosen))
        sums = [("sum of products", sum(one.product for one in chosen), "mm²")]
        sums += [("± of the sum", wrong, "mm²")]
        sums += [] if flat else [("sum of volumes", sum(one.volume for one in chosen), "ml")]
        rows += [{"name": f"{name}, {kind}", "value": n, "unit": unit} for name, n, unit in sums]
        names = ", ".join(targets)
        rows.append({"name": f"suggested targets, {kind}", "value": names, "unit": ""})
    for name, one in found.items():
        rows += lines(name, ("longest diameter", "perpendicular"), one)
        rows.append(sized(name, "product", one.product, "mm²", one))
        rows += [] if flat else [sized(name, "volume", one.volume, "ml", one)]
        status = "measurable" if rano_measurable(one) else "not measurable"
        status += ", cut by the edge" if one.cut else ""
        status += ", suggested target" if name in targets else ""
        rows.append({"lesion": name, "name": "status", "value": f"{kind}, {status}", "unit": ""})
    return rows
