"""Extent of resection: how much of a tumour an operation removed, and what is left of it.

(before - after) / before, in percent, of enhancing tumour. Categories of Karschnia et al. 2021 (doi
10.1016/j.ejca.2021.03.002) by reduction and residual, and classes of the RANO resect group
(Karschnia et al. 2023, doi 10.1093/neuonc/noac193) by residual alone; their limits were read in
abstracts and in texts that repeat them, not in the papers' own tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from oncoseg.blocks.region_names import enhancing, not_enhancing, outermost, tumours
from oncoseg.blocks.sizes import boundary_ml, volumes
from oncoseg.case import Array, Prediction
from oncoseg.response.match import Look, Visit

METHOD = (
    "Extent of resection: (before - after) / before of the volume, by voxels counted. Category by "
    "Karschnia 2021 (complete: nothing left; near total: from 95% and up to 1 ml left; subtotal: "
    "from 80% and up to 5 ml left; partial: less), class by RANO resect 2023 (1: nothing enhances "
    "and up to 5 ml of non-enhancing tumour are left; 2: up to 1 ml enhancing; 3: more; 4: biopsy)."
)
ASSUMED = (
    "Extent of resection holds if the earlier scan is the last one before surgery and this one is "
    "of the days after it: blood and what enhances by the operation itself look like residual "
    "tumour, which was not assessed."
)


def category(before: float, after: float) -> str:
    """Karschnia 2021, of enhancing tumour in ml."""
    reduced = (before - after) / before
    if after == 0:
        return "complete resection"
    if reduced <= 0:
        return "no reduction, as after a biopsy"
    if reduced >= 0.95 and after <= 1:
        return "near total resection"
    return "subtotal resection" if reduced >= 0.80 and after <= 5 else "partial resection"


def rano_class(before: float, after: float, other: float | None = None) -> str:
    """RANO resect 2023: by what is left of enhancing and, if it is known, non-enhancing tumour."""
    if after >= before:
        return "4"
    if after > 1:
        return "3"
    if after > 0:
        return "2"
    if other is None:
        return "1 or 2"
    return "1" if other <= 5 else "2"


def section(now: Prediction, before: Prediction, visits: Sequence[Visit]) -> dict[str, Any]:
    """The finding; `visits` are those of both predictions, the earlier one first."""
    made: dict[str, Any] = {"title": "Extent of resection", "method": METHOD, "rows": []}
    known = enhancing(now.task)
    regions = outermost(now.task, known or tumours(now.task))
    notes = [ASSUMED]
    then = _union(before, regions)
    if not then.any():
        cause = f"the earlier scan shows no {' or '.join(regions)}"
        return made | {"notes": [f"Extent of resection was not assessed: {cause}."]}
    if not _all_seen(regions, visits):
        cause = "the tumour is cut by the edge of a scan, or one of them does not cover it"
        return made | {"notes": [f"Extent of resection was not assessed: {cause}."]}
    after = _union(now, regions)
    volumes = [
        int(np.count_nonzero(mask)) * one.grid.voxel_volume / 1000
        for mask, one in ((then, before), (after, now))
    ]
    errors = [boundary_ml(mask, one.grid) for mask, one in ((then, before), (after, now))]
    made["rows"] = _rows(" + ".join(regions), volumes, errors)
    if known:
        made["rows"] += _classes(volumes, errors[1], _other(now))
    else:
        notes.append(
            "Categories of resection were not assessed: they are of enhancing tumour, and no "
            "region is named so."
        )
    if known and volumes[1] == 0 and _other(now) is None:
        notes.append(
            "Whether resection was supramaximal (class 1) was not assessed: no region is named "
            "non-enhancing tumour."
        )
    return made | {"notes": notes}


def _union(prediction: Prediction, regions: Sequence[str]) -> Array:
    masks = prediction.masks
    return np.logical_or.reduce([masks[name] for name in regions])


def _other(now: Prediction) -> float | None:
    """What is left of non-enhancing tumour in ml; None if no region is named so."""
    names = outermost(now.task, not_enhancing(now.task))
    found = volumes(now.task, now.label, now.grid)
    return sum(found[name] for name in names) if names else None


def _all_seen(regions: Sequence[str], visits: Sequence[Visit]) -> bool:
    """Whether the later scan shows all of the earlier tumour, and neither cuts it."""
    first, last = visits
    look = Look.between(first, last)
    tumour = [one for one in first.lesions if one.region in regions]
    later = [one for one in last.lesions if one.region in regions]
    return all(look.covers(one) for one in tumour) and not any(one.cut for one in tumour + later)


def _rows(whose: str, volumes: Sequence[float], errors: Sequence[float]) -> list[dict[str, Any]]:
    then, after = volumes
    wrong = 100 * math.hypot(errors[1] / then, errors[0] * after / then**2)
    values = [
        (f"{whose} before surgery", then, "ml"),
        ("residual", after, "ml"),
        ("± of the residual", errors[1], "ml"),
        ("extent of resection", 100 * max(0.0, then - after) / then, "%"),
        ("± of the extent", wrong, "%"),
    ]
    return [{"name": name, "value": value, "unit": unit} for name, value, unit in values]


def _classes(volumes: Sequence[float], error: float, other: float | None) -> list[dict[str, Any]]:
    """The category and the class, and those that the error of the residual leaves open."""
    then, after = volumes
    ends = (after, max(0.0, after - error) if after else 0.0, after + error if after else 0.0)
    told = {
        "category (2021)": [category(then, end) for end in ends],
        "RANO resect class (2023)": [rano_class(then, end, other) for end in ends],
    }
    rows = []
    for name, (value, *others) in told.items():
        possible = [one for one in dict.fromkeys(others) if one != value]
        text = value + (f" (error leaves open: {' or '.join(possible)})" if possible else "")
        rows.append({"name": name, "value": text, "unit": ""})
    return rows
