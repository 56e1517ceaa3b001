"""Where each region lies and in how many pieces: components, bounding box, centre and side."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.planes import directions, unit
from oncoseg.case import Array, Case, Grid, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "The Image Biomarker Standardization Initiative",
    2020,
    doi="10.1148/radiol.2020191145",
    reading="It defines neither the smallest piece that counts nor the side; both are ours.",
)
WAYS = ("right-left", "front-back", "head-foot")
MIDLINE_MM = 5.0


class Extent(Finding):
    """`smallest` is the volume in mm³ (in 2-D mm² or px) from which a connected piece counts."""

    def __init__(self, *, smallest: float = 50.0) -> None:
        self.smallest = smallest

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Rows a region; an empty one has only its number of pieces, 0; `edge` is of cut ones."""
        grid, rows = prediction.grid, []
        for name, mask in prediction.masks.items():
            found = self._pieces(mask, grid)
            if mask.any():
                found += _box(mask, grid) + _centre(mask, grid) + _edge(mask)
            rows += [{"region": name, **row} for row in found]
        size = {2: {"mm": "mm²", "px": "px"}[unit(grid)], 3: "mm³"}[grid.dims]
        method = (
            f"Pieces connect by faces, edges or corners and count from {self.smallest:g} {size}; "
            "the box is along the grid's axes. Image side is the side of the image's middle, the "
            "patient's only if centred."
        )
        return {"title": "Extent", "method": method, "rows": rows}

    def _pieces(self, mask: Array, grid: Grid) -> list[dict[str, Any]]:
        (box,) = ndimage.find_objects(mask.astype(np.uint8)) or [(slice(0),) * mask.ndim]
        pieces, count = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim))
        volumes = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * grid.voxel_volume
        large = int((volumes >= self.smallest).sum())
        return [
            {"name": "components", "value": large, "unit": ""},
            {"name": "smaller components", "value": count - large, "unit": ""},
        ]


def _box(mask: Array, grid: Grid) -> list[dict[str, Any]]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    sides = [(side.stop - side.start) * step for side, step in zip(box, grid.spacing)]
    if grid.dims == 2:
        ways: tuple[str, ...] = ("along the first axis", "along the second axis")
    else:
        ways = tuple(WAYS[where] for where in directions(grid))
    return [
        {"name": f"extent {way}", "value": side, "unit": unit(grid)}
        for way, side in sorted(zip(ways, sides))
    ]


def _centre(mask: Array, grid: Grid) -> list[dict[str, Any]]:
    """Centre of mass; in 3-D in RAS mm, with the side of the grid's middle that it lies on."""
    index = np.array([where.mean() for where in np.nonzero(mask)])
    centre = grid.affine[:-1, :-1] @ index + grid.affine[:-1, -1]
    rows: list[dict[str, Any]] = [
        {"name": f"centre {letter}", "value": float(value), "unit": unit(grid)}
        for letter, value in zip("RAS" if grid.dims == 3 else "xy", centre)
    ]
    if grid.dims == 3:
        middle = (grid.affine @ [*((size - 1) / 2 for size in grid.shape), 1])[0]
        side = "right" if centre[0] > middle else "left"
        near = abs(centre[0] - middle) < MIDLINE_MM
        rows.append({"name": "image side", "value": "middle" if near else side, "unit": ""})
    return rows


def _edge(mask: Array) -> list[dict[str, Any]]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    cut = any(side.start == 0 or side.stop == size for side, size in zip(box, mask.shape))
    return [{"name": "edge", "value": "reached", "unit": ""}] if cut else []
