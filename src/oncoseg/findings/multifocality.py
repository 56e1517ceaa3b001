"""Foci of each region: how many there are, how far apart they lie, unifocal or multifocal."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.gaps import between_centres, gap
from oncoseg.blocks.planes import unit
from oncoseg.blocks.segments import SMALLEST, Segment, lesions
from oncoseg.case import Case, Grid, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "Preoperative Brain Tumor Imaging: Models and Software for Segmentation and Standardized "
    "Reporting",
    2022,
    doi="10.3389/fneur.2022.932219",
    reading="Its software has the 0.1 ml and 5 mm, but holds the 95th percentile of distances "
    "between surfaces against the latter; here the gap, so that large foci which all but touch are "
    "one. Parts connect by corners too, there by faces alone.",
)


class Multifocality(Finding):
    """`smallest` (ml) makes a part a focus; `apart` (mm) is the gap that tells two foci apart."""

    def __init__(self, *, smallest: float = 0.1, apart: float = 5.0) -> None:
        if smallest * 1000 < SMALLEST:
            least = f"{SMALLEST / 1000:g} ml or more"
            raise BadOption(f"option 'smallest' takes {least}, not {smallest:g}")
        self.smallest, self.apart = smallest, apart

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a region, and a row each focus but the largest; in 2-D parts count from 50 mm²."""
        grid, length = prediction.grid, unit(prediction.grid)
        if grid.dims == 2:
            size, least = {"mm": "mm²", "px": "px"}[length], SMALLEST
        else:
            size, least = "ml", self.smallest
        foci: dict[str, list[tuple[Segment, float]]] = {name: [] for name in prediction.masks}
        for one in lesions(prediction):
            volume = int(one.part.sum()) * grid.voxel_volume / (1000 if grid.dims == 3 else 1)
            if volume >= least * (1 - 1e-6):
                foci[one.region].append((one, volume))
        units = {"volume": size, "gap": length, "between centres": length}
        rows = [row for name, found in foci.items() for row in self._rows(name, found, grid, units)]
        notes = [
            f"No part of {name} is as large as a focus, so its focality is not assessed."
            for name, mask in prediction.masks.items()
            if mask.any() and not foci[name]
        ]
        method = (
            f"Parts that connect by faces, edges or corners are foci from {least:g} {size}. Gaps "
            "(the shortest way between surfaces) and distances between centres of mass are those "
            f"from the largest focus. Multifocal: a gap of at least {self.apart:g} {length}."
        )
        return {"title": "Focality", "method": method, "rows": rows, "notes": notes}

    def _rows(
        self, region: str, foci: list[tuple[Segment, float]], grid: Grid, units: dict[str, str]
    ) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = [{"name": "foci", "value": len(foci), "unit": ""}]
        others = [(one, _measured(foci[0][0], one, volume, grid)) for one, volume in foci[1:]]
        if foci:
            far = max((one["gap"] for _, one in others), default=-1.0) >= self.apart
            kind = "multifocal" if far else "unifocal"
            told.append({"name": "focality", "value": kind, "unit": ""})
            told.append({"name": "largest volume", "value": foci[0][1], "unit": units["volume"]})
        for key in ("gap", "between centres") if others else ():
            most = max(one[key] for _, one in others)
            told.append({"name": f"largest {key}", "value": most, "unit": units[key]})
        told += [
            {"lesion": one.name, "name": key, "value": value, "unit": units[key]}
            for one, found in others
            for key, value in found.items()
        ]
        return [{"region": region, **row} for row in told]


def _measured(main: Segment, one: Segment, volume: float, grid: Grid) -> dict[str, float]:
    apart = {"gap": gap(main, one, grid), "between centres": between_centres(main, one, grid)}
    return {"volume": volume, **apart}
