"""Target lesions: what response criteria measure of a lesion, which ones count, and how surely."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oncoseg.blocks.calipers import in_slices
from oncoseg.blocks.planes import slice_axis
from oncoseg.blocks.region_names import is_node
from oncoseg.blocks.segments import Segment, lesions
from oncoseg.blocks.sizes import boundary_ml
from oncoseg.case import Grid, Prediction

MEASURABLE = 10.0  # mm: the long axis (RECIST), both diameters (RANO)
NODE, NORMAL_NODE = 15.0, 10.0  # mm of short axis: measurable from the one, normal below the other
THICK = 5.0  # mm: beyond, a lesion is measurable from twice the thickness
TOO_SMALL = 5.0  # mm: what counts for a lesion that is seen, but too small to measure
ROUNDING = 1e-6


@dataclass(frozen=True)
class Measured:
    """One lesion at one visit: `long` axis and the perpendicular `short` in mm, `volume` in ml.

    No size (`GONE`) means that it was looked for and is not there. `slices` is how many it is seen
    in, `thickness` how far these are apart in mm (0: not known), `error` that of a diameter in mm,
    `error_ml` that of the volume.
    `organ` is "" where not known; `small` is seen, but too small to measure; `cut` ends at the edge
    of the image. `parts` are those of a lesion that split: their sizes are added. `drawn` holds the
    axis, slice and ends of both lines, as index into the scan.
    """

    long: float
    short: float
    volume: float = 0.0
    node: bool = False
    organ: str = ""
    slices: int = 0
    thickness: float = 0.0
    error: float = 0.0
    error_ml: float = 0.0
    small: bool = False
    cut: bool = False
    parts: tuple[Measured, ...] = ()
    drawn: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def seen(self) -> bool:
        """Whether there is anything of it."""
        return self.small or self.long > 0

    @property
    def diameter(self) -> float:
        """What it adds to the sum of RECIST: the short axis of nodes, of others the long one."""
        if self.parts:
            return sum(part.diameter for part in self.parts)
        if self.small:
            return TOO_SMALL
        return self.short if self.node else self.long

    @property
    def product(self) -> float:
        """Longest diameter times its perpendicular in mm², of RANO."""
        if self.parts:
            return sum(part.product for part in self.parts)
        return TOO_SMALL**2 if self.small else self.long * self.short


GONE = Measured(0.0, 0.0)


def together(parts: Sequence[Measured]) -> Measured:
    """What a lesion split into, as one: the axes of the largest, volumes and diameters added."""
    largest = max(parts, key=lambda part: part.diameter)
    return replace(
        largest,
        volume=sum(part.volume for part in parts),
        error=math.hypot(*(part.error for part in parts)),
        error_ml=sum(part.error_ml for part in parts),
        cut=any(part.cut for part in parts),
        parts=tuple(parts),
    )


def measure(segment: Segment, grid: Grid, *, node: bool = False, organ: str = "") -> Measured:
    """A lesion in the slices that were acquired (2-D: in the image), by its own grid."""
    axis = slice_axis(grid)[0] if grid.dims == 3 else -1
    found = in_slices(segment.part, grid, axis)
    plane = [side for place, side in enumerate(grid.spacing) if grid.dims == 2 or place != axis]
    extent = segment.box[axis].stop - segment.box[axis].start if grid.dims == 3 else 0
    return Measured(
        found["value"],
        found["across"],
        segment.volume_ml(grid) if grid.dims == 3 else 0.0,
        node=node,
        organ=organ,
        slices=extent,
        thickness=grid.spacing[axis] if grid.dims == 3 else 0.0,
        error=error(found["value"], math.hypot(*plane), extent),
        error_ml=boundary_ml(segment.part, grid) if grid.dims == 3 else 0.0,
        cut=any(
            side.start == 0 or side.stop == size for side, size in zip(segment.box, grid.shape)
        ),
        drawn=_drawn(found, segment, axis),
    )


def measured(
    prediction: Prediction,
    regions: Sequence[str],
    *,
    nodes: Sequence[str] = (),
    organ: str = "",
) -> dict[str, Measured]:
    """Every lesion of some regions, by the name that it has everywhere.

    `nodes` names the regions or lesions that are lymph nodes, as are regions named so; all others
    lie in `organ`.
    """
    found = {}
    for piece in lesions(prediction, regions) if regions else ():
        node = is_node(piece.region) or piece.name in nodes or piece.region in nodes
        place = "" if node else organ
        found[piece.name] = measure(piece, prediction.grid, node=node, organ=place)
    return found


def error(value: float, pixel: float, slices: int) -> float:
    """By how many mm a diameter may be wrong by the size of voxels alone.

    Each end lies within half the diagonal `pixel` of a pixel. The largest section of an ellipsoid
    seen in n slices lies up to half a slice from the nearest, where it is sqrt(1 - 1/n²) as wide;
    of what is seen in one slice the true diameter is not bounded, so its error is its own size.
    """
    if slices == 0:  # one image, no slices
        return pixel
    if slices == 1:
        return pixel + value
    return pixel + value * (1 / math.sqrt(1 - 1 / slices**2) - 1)


def _drawn(found: Mapping[str, Any], segment: Segment, axis: int) -> dict[str, Any]:
    """Where the lines lie, moved from the lesion's box to the scan."""
    if "ends" not in found:
        return {}
    flat = len(segment.box) == 2
    start = [side.start for place, side in enumerate(segment.box) if flat or place != axis]
    moved = {
        key: [[at + first for at, first in zip(end, start)] for end in found[key]]
        for key in ("ends", "perpendicular_ends")
    }
    return {
        "axis": axis,
        "slice": found["slice"] + (0 if flat else segment.box[axis].start),
        **moved,
    }


def recist_least(one: Measured) -> float:
    """From how many mm a lesion is measurable by RECIST 1.1: of a node, of its short axis."""
    floor = NODE if one.node else MEASURABLE
    return floor if one.thickness <= THICK + ROUNDING else max(floor, 2 * one.thickness)


def recist_measurable(one: Measured) -> bool:
    """Whether RECIST 1.1 calls it measurable."""
    return not one.small and one.diameter >= recist_least(one) - ROUNDING


def recist_clear(one: Measured) -> bool:
    """Whether nothing is left of it: not seen, or a node below 10 mm of short axis, so normal."""
    return not one.seen or (one.node and one.diameter < NORMAL_NODE - ROUNDING)


def rano_measurable(one: Measured) -> bool:
    """Whether RANO calls it measurable: both diameters from 10 mm, seen in two slices or more.

    As in RECIST, from twice the thickness where slices are thicker than 5 mm.
    """
    least = MEASURABLE if one.thickness <= THICK + ROUNDING else 2 * one.thickness
    return not one.small and one.slices != 1 and one.short >= least - ROUNDING


def recist_targets(lesions: Mapping[str, Measured]) -> tuple[str, ...]:
    """Up to five measurable lesions, largest first, two an organ at most; nodes are one organ.

    Where an organ is not known, nothing but the five can be kept to. What the edge of the image
    cuts cannot be measured again, and is none.
    """
    chosen: list[str] = []
    taken: dict[str, int] = {}
    for name in _largest(lesions, recist_measurable, lambda one: one.diameter):
        one = lesions[name]
        organ = "lymph nodes" if one.node else one.organ
        if len(chosen) < 5 and (not organ or taken.get(organ, 0) < 2):
            taken[organ] = taken.get(organ, 0) + 1
            chosen.append(name)
    return tuple(chosen)


def rano_targets(lesions: Mapping[str, Measured]) -> tuple[str, ...]:
    """Up to three measurable lesions that the image does not cut, by product of diameters."""
    return tuple(_largest(lesions, rano_measurable, lambda one: one.product)[:3])


def _largest(
    lesions: Mapping[str, Measured],
    counts: Callable[[Measured], bool],
    size: Callable[[Measured], float],
) -> list[str]:
    """Names of lesions that count and are not cut, largest first, equal ones as they stand."""
    found = [name for name, one in lesions.items() if counts(one) and not one.cut]
    return sorted(found, key=lambda name: -size(lesions[name]))
