"""RECIST 1.1: long and short axis of each lesion, which are measurable, and the sum of targets."""

from __future__ import annotations

import math
from typing import Any

from oncoseg.blocks.planes import unit
from oncoseg.blocks.region_names import tumours
from oncoseg.blocks.target_lesions import (
    NORMAL_NODE,
    Measured,
    measured,
    recist_clear,
    recist_least,
    recist_measurable,
    recist_targets,
)
from oncoseg.blocks.target_rows import doubts, left_out, lines, listed, unknown
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "New response evaluation criteria in solid tumours: revised RECIST guideline (version 1.1)",
    2009,
    doi="10.1016/j.ejca.2008.10.026",
    reading="Twice the distance of slices for nodes is ours, as is taking that distance as their "
    "thickness and the short axis in the slice of the long one.",
)
METHOD = (
    "Long axis: longest line between outer voxel corners of one piece in the acquired slices; "
    "short axis: the longest at right angles to it there. Measurable from 10 mm of long axis, "
    "nodes from 15 mm of short axis, and from twice the distance of slices where that is above 5 "
    "mm. Suggested targets: the five largest measurable, two an organ; the sum takes the short "
    "axis of nodes. ± is what voxels leave open; repeated scans differ by more (lung tumours "
    "within 15 minutes: standard deviation of change 2.4 mm, PMC3157977)."
)


class Recist(Finding):
    """`regions` and `nodes` (of these, or lesions) are joined by `+`, told by names if empty.

    `organ` is where all lesions but nodes lie; without it two an organ cannot be kept to.
    """

    def __init__(self, *, regions: str = "", nodes: str = "", organ: str = "") -> None:
        self.regions, self.nodes, self.organ = listed(regions), listed(nodes), organ

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a lesion, then the sum and the targets it is of; none where pixels have no size."""
        section: dict[str, Any] = {"title": "RECIST 1.1", "method": METHOD, "rows": []}
        if unit(prediction.grid) == "px":
            return section | {"notes": ["RECIST 1.1 was not assessed: pixels have no known size."]}
        known = prediction.task.regions
        regions = [name for name in self.regions or tumours(prediction.task) if name in known]
        found = measured(prediction, regions, nodes=self.nodes, organ=self.organ)
        targets = recist_targets(found)
        for name, one in found.items():
            section["rows"] += lines(name, ("long axis", "short axis"), one)
            text = _status(one) + (", suggested target" if name in targets else "")
            section["rows"].append({"lesion": name, "name": "status", "value": text, "unit": ""})
        notes = unknown("Option regions:", self.regions, known)
        notes += unknown("Option nodes:", self.nodes, [*known, *found])
        notes += left_out(found, regions, prediction) + doubts(found, prediction)
        if not targets:
            return section | {"notes": [*notes, "RECIST 1.1: no measurable lesion, so no sum."]}
        chosen = [found[name] for name in targets]
        wrong = math.hypot(*(one.error for one in chosen))
        sums = {"sum of diameters": sum(one.diameter for one in chosen), "± of the sum": wrong}
        facts = [{"name": name, "value": value, "unit": "mm"} for name, value in sums.items()]
        facts += [{"name": "suggested targets", "value": ", ".join(targets), "unit": ""}]
        if not self.organ and sum(not one.node for one in chosen) > 2:
            notes.append("RECIST 1.1: organs are not known; of each no more than two may count.")
        return section | {"rows": facts + section["rows"], "notes": notes}


def _status(one: Measured) -> str:
    """What a lesion is for the rule, in words."""
    if one.cut:
        return "cut by the edge"
    if one.node and recist_clear(one):
        return f"normal node (below {NORMAL_NODE:g} mm)"
    kind = "node" if one.node else "lesion"
    if recist_measurable(one):
        return f"measurable {kind}"
    return f"{kind} below {recist_least(one):g} mm, not measurable"
