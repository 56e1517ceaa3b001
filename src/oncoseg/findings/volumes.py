"""Volume of each region: its voxels counted, times the volume of a voxel."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.planes import unit
from oncoseg.blocks.sizes import volumes
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "The Image Biomarker Standardization Initiative",
    2020,
    doi="10.1148/radiol.2020191145",
)


class Volumes(Finding):
    """Approximate volume of the standard (voxel counting); area for 2-D images."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """One row a region: ml in 3-D; mm² or px (pixels, if no size is known) in 2-D.

        A row has `low`, `high` and `level` where the prediction gives an interval.
        """
        flat = prediction.grid.dims == 2
        kind = {"mm": "mm²", "px": "px"}[unit(prediction.grid)] if flat else "ml"
        rows = [
            {
                "region": name,
                "name": "area" if flat else "volume",
                "value": size,
                "unit": kind,
                **_interval(prediction, name),
            }
            for name, size in volumes(prediction.task, prediction.label, prediction.grid).items()
        ]
        method = "Number of voxels times the volume of a voxel, on the scan's own grid."
        return {"title": "Areas" if flat else "Volumes", "method": method, "rows": rows}


def _interval(prediction: Prediction, region: str) -> dict[str, float]:
    """What is between `low` and `high` in a share `level` of cases, {} if nothing is known."""
    if region not in prediction.intervals:
        return {}
    low, high = prediction.intervals[region]
    return {"low": low, "high": high, "level": prediction.level}
