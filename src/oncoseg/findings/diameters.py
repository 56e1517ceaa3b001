"""Diameters as a reader draws them: longest in an acquired slice, its perpendicular, and in 3-D."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.calipers import in_slices, in_space
from oncoseg.blocks.planes import slice_axis, unit
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "Updated Response Assessment Criteria for High-Grade Gliomas: Response Assessment in "
    "Neuro-Oncology Working Group",
    2010,
    doi="10.1200/JCO.2009.26.3541",
    reading="How voxels count is not written; here between outer corners, within the convex hull.",
)


class Diameters(Finding):
    """Each measured within one connected piece, so that no line spans two lesions."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a region: longest, perpendicular and, in 3-D, maximum diameter; 0 if it is empty.

        The first also holds `axis` and `slice` (array index) and both lines in in-slice index
        coordinates (`ends`, `perpendicular_ends`), for drawing.
        """
        grid, length = prediction.grid, unit(prediction.grid)
        axis, plane = slice_axis(grid) if grid.dims == 3 else (-1, "image")
        rows: list[dict[str, Any]] = []
        for name, mask in prediction.masks.items():
            found = in_slices(mask, grid, axis)
            across = found.pop("across")
            rows += [
                {"region": name, "name": "longest diameter", "unit": length, **found},
                {"region": name, "name": "perpendicular", "value": across, "unit": length},
            ]
            if grid.dims == 3:
                value = in_space(mask, grid)
                row = {"region": name, "name": "3-D diameter", "value": value, "unit": length}
                rows.append(row)
        where = f"the acquired ({plane}) slices" if grid.dims == 3 else "the image"
        method = (
            f"Longest line between outer voxel corners of one connected piece in {where}, and the "
            "longest at right angles to it in the same slice, both within the piece's convex hull."
        )
        return {"title": "Diameters", "method": method, "plane": plane, "rows": rows}
