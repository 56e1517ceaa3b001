"""Radiomic features around each tumour: in rings of so many millimetres, or with the tumour."""

from __future__ import annotations

from typing import Any

import numpy as np

from oncoseg.blocks.on_grid import widened
from oncoseg.blocks.planes import unit
from oncoseg.blocks.radiomics import Part, Settings, tabled
from oncoseg.blocks.region_names import tumours
from oncoseg.blocks.rings import bodies, clipped, inside
from oncoseg.blocks.segments import regions
from oncoseg.blocks.sizes import sizes
from oncoseg.case import Case, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "Peritumoral Expansion Radiomics for Improved Lung Cancer Classification",
    2024,
    arxiv="2411.16008",
    reading="The paper expands the mask by 2 to 12 mm, tumour included (`filled`); here also the "
    "rings alone, the default. It does not say what it clips by; here the body and other tumours, "
    "not an organ; rings of two tumours may share voxels.",
)
AREAS = {"mm": "mm²", "px": "px"}


class PeritumoralRadiomics(Finding):
    """Rings `step` wide up to `reach` mm; `filled` takes all from within the tumour to each edge.

    Families, bins, width and image are those of `radiomics`, without shape.
    """

    def __init__(
        self,
        *,
        reach: float = 12.0,
        step: float = 2.0,
        filled: bool = False,
        families: str = "statistics",
        bins: int = 32,
        width: float = 0.0,
        image: str = "",
    ) -> None:
        if not 0 < step <= reach:
            raise BadOption(f"option 'step' takes more than 0 up to 'reach', not {step:g}")
        self.settings = Settings(families, bins, width, image=image)
        self.edges = [float(edge) for edge in np.arange(0, reach + step / 1000, step)]
        self.filled = filled

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a tumour: each ring's size, then its features in each image."""
        grid, masks, told = prediction.grid, prediction.masks, []
        names = [name for name in tumours(prediction.task) if masks[name].any()]
        if grid.sheared and names:
            told, names = ["The grid's axes are not at right angles: no rings were measured."], []
        every = np.any([masks[name] for name in names], axis=0)
        outlines = bodies(case.images.values(), grid, every) if names else []
        if names and case.images and not outlines:
            told = ["No image tells the body from air, so rings were not clipped to it."]
        parts: list[Part] = []
        for one in (one for one in regions(prediction) if one.name in names):
            box, mask = widened(one.box, one.part, self.edges[-1], grid)
            free = inside(outlines, grid, box) & ~every[box]
            found, left = clipped(mask, free, grid, self.edges, filled=self.filled)
            parts += [Part({"region": one.name}, box, ring, name) for name, ring in found.items()]
            if left:
                whose = f"{left:.1%} of the rings around {one.name}"
                told.append(f"{whose} lie outside of the body or in another tumour: left out.")
        size, kind = ("volume", "ml") if grid.dims == 3 else ("area", AREAS[unit(grid)])
        rows = [
            {**part.whose, "name": part.prefix + size, "value": value, "unit": kind}
            for part in parts
            for value in sizes({"": part.mask}, grid).values()
        ]
        measured, notes = tabled(parts, case.images, grid, self.settings)
        each = "with all within" if self.filled else "alone"
        method = (
            f"Rings {self.edges[1]:g} {unit(grid)} wide, {each}, around the outermost regions that "
            "are tumours, by the distance between voxel centres; clipped to the body, which is "
            f"what is not air in any image, less other tumours. {self.settings.said}"
        )
        title = "Radiomics around the tumour"
        return {"title": title, "method": method, "rows": rows + measured, "notes": told + notes}
