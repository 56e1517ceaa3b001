"""Probability maps beside predictions: found before any work, read one region at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from oncoseg.blocks.calibration import BINS, binned, observed
from oncoseg.case import Array, Grid
from oncoseg.errors import BadData, BadFile
from oncoseg.parts import Metric
from oncoseg.read import read_volume

MARK = ".probability."
BESIDE = re.compile(r"\.(?:probability\.|spread\.|entropy$|margin$)")  # maps beside a label map
REMEDY = "run 'oncoseg predict' with --probabilities"


def where(prediction: Path, case: str, region: str) -> Path:
    """The map of one region, beside the record or label map of its case."""
    return prediction.with_name(f"{case}{MARK}{region}.nii.gz")


def all_there(
    predictions: Mapping[str, Path], regions: Sequence[str], tools: Mapping[str, Metric]
) -> None:
    """Raises `BadData` if metrics need a map that is not there."""
    asking = [name for name, tool in tools.items() if "probability" in tool.needs]
    if not asking:
        return
    for case, path in predictions.items():
        for region in regions:
            if not where(path, case, region).exists():
                wanted = where(path, case, region)
                raise BadData(f"{wanted}: is not there, but {', '.join(asking)} need it; {REMEDY}")


def probability(path: Path, grid: Grid) -> Array:
    """A region's probability (*S) float32.

    Maps are uint8 in steps of 1/255, or floats from 0 to 1. Raises `BadFile`.
    """
    volume = read_volume(path)
    if not volume.grid.same_as(grid):
        raise BadFile(path, "is on another grid than its label map", REMEDY)
    stored = volume.array
    if stored.dtype == np.uint8 and stored.max(initial=0) == 1:
        raise BadFile(path, "holds 0 and 1 alone, so it is a mask", "give probabilities")
    if stored.dtype != np.uint8 and stored.dtype.kind != "f":
        raise BadFile(path, f"is {stored.dtype}, no probability", REMEDY)
    values = stored.astype(np.float32)
    if stored.dtype == np.uint8:
        values /= 255
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
        raise BadFile(path, "holds values outside 0 to 1", REMEDY)
    return values


def counted(values: Array, truth: Array, spacing: Sequence[float]) -> list[list[float]]:
    """Voxels, sum of probabilities and number that came true, of each bin of a region's own."""
    return binned(*observed(values, truth, spacing), BINS).tolist()


def reliability(bins: Mapping[str, Array]) -> dict[str, list[dict[str, float]]]:
    """Region -> what a reliability diagram draws, over the voxels of all cases; no empty bins."""
    return {
        region: [
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "voxels": int(voxels),
                "claimed": claimed / voxels,
                "came_true": right / voxels,
            }
            for place, (voxels, claimed, right) in enumerate(np.asarray(table).tolist())
            if voxels
        ]
        for region, table in bins.items()
    }
