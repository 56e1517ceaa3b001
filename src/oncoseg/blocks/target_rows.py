"""Rows and notes on lesions that findings of response criteria share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.target_lesions import Measured
from oncoseg.case import Prediction


def listed(text: str) -> tuple[str, ...]:
    """Names in an option, joined by `+`."""
    return tuple(filter(None, (name.strip() for name in text.split("+"))))


def sized(lesion: str, name: str, value: float, unit: str, one: Measured) -> dict[str, Any]:
    """A row; of a lesion that the image cuts, its value is a sentence, `at least 34.2`."""
    row = {"lesion": lesion, "name": name, "value": value, "unit": unit}
    return row | {"value": f"at least {value:.1f}", "least": value} if one.cut else row


def lines(lesion: str, names: Sequence[str], one: Measured) -> list[dict[str, Any]]:
    """Both diameters, the first with where they are drawn, and their error by voxels."""
    long, short = names
    return [
        sized(lesion, long, one.long, "mm", one) | dict(one.drawn),
        sized(lesion, short, one.short, "mm", one),
        {"lesion": lesion, "name": "± by voxels", "value": one.error, "unit": "mm"},
    ]


def doubts(found: Mapping[str, Measured], prediction: Prediction) -> list[str]:
    """What a reader must know of measurements: other planes, cut lesions, ones in one slice."""
    told, grid = [], prediction.grid
    if grid.dims == 3 and slice_axis(grid)[1] != "axial":
        told.append(
            f"Diameters are measured in the {slice_axis(grid)[1]} plane, in which slices were "
            "acquired, not the axial one: compare only with scans of the same plane."
        )
    if grid.dims == 2 and found:
        told.append("The distance of slices of a single image is not known, so 10 mm are asked.")
    cut = [name for name, one in found.items() if one.cut]
    if cut:
        told.append(
            f"{', '.join(cut)}: cut by the edge of the image, so larger than measured by an "
            "unknown amount, and no target."
        )
    single = [name for name, one in found.items() if one.slices == 1]
    if single:
        told.append(f"{', '.join(single)}: seen in one slice only, so the size is not known.")
    return told


def left_out(found: Iterable[str], regions: Sequence[str], prediction: Prediction) -> list[str]:
    """Regions of which pieces below the smallest lesion, or none at all, were found."""
    told, masks, names = [], prediction.masks, list(found)
    size = "50 mm³" if prediction.grid.dims == 3 else "50 mm²"
    for region in regions:
        if not masks[region].any():
            told.append(f"No {region} was found, so none was measured.")
        elif not any(name.rpartition(" ")[0] == region for name in names):
            told.append(f"All pieces of {region} are below {size} and were not measured.")
    return told


def unknown(kind: str, asked: Sequence[str], known: Iterable[str]) -> list[str]:
    """A note for what an option names and this case does not hold."""
    there = set(known)
    gone = [name for name in asked if name not in there]
    return [f"{kind} {', '.join(gone)}: no region or lesion of this case."] if gone else []
