"""A label map beside its image: empty, in crumbs, with pinholes, or drawn where no body is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.blocks.extents import body
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Volume
from oncoseg.check.records import Problem

COARSE = 1 << 20  # voxels in which a body is looked for
PLACES = 5000  # voxels of a label that are looked up in it
SOLID_HU = -500.0  # a body, but for the lungs and bowels that it encloses, lies above
OUTSIDE = 0.1  # of a label's voxels


def odd_label(
    case: str, label: Volume, name: str, image: Volume | None, smallest: int
) -> list[Problem]:
    """What looks wrong with a label map; `image`, if it was read, is what it was drawn on."""
    inside = label.array > 0
    box = bounds(inside)
    if not all(edge.stop for edge in box):
        remedy = "nothing, if there is no tumour in it; else draw it"
        return [Problem("warning", "label", case, str(label.path), "is an empty label map", remedy)]
    told = [*_small(inside[box], smallest), *_holes(inside[box], smallest)]
    if image is not None and image.grid.same_as(label.grid):
        told += _outside(inside, image.array, name)
    return [Problem("warning", "label", case, str(label.path), *said) for said in told]


def _small(inside: Array, smallest: int) -> list[tuple[str, str]]:
    pieces, count = ndimage.label(inside, structure=np.ones((3,) * inside.ndim))
    small = int((np.bincount(pieces.ravel())[1:] < smallest).sum())
    if not small:
        return []
    cause = f"has {small} of {count} pieces of fewer than {smallest} voxels"
    return [(cause, "look whether they are meant, and erase what is not")]


def _holes(inside: Array, smallest: int) -> list[tuple[str, str]]:
    """Enclosed background in pieces so small that nothing can have been left out on purpose."""
    pieces, _ = ndimage.label(~np.pad(inside, 1))
    sizes = np.bincount(pieces.ravel())[1:]
    count = int((sizes < smallest).sum())  # the outside is one piece, and larger
    if not count or len(sizes) < 2:
        return []
    cause = f"has {count} hole{'s' * (count > 1)} of fewer than {smallest} voxels"
    return [(cause, "look whether to fill what is enclosed")]


def _outside(inside: Array, image: Array, name: str) -> list[tuple[str, str]]:
    step = max(1, int(np.ceil((image.size / COARSE) ** (1 / image.ndim))))
    there = _body(image[(slice(None, None, step),) * image.ndim], name)
    places = np.argwhere(inside)
    places = places[:: len(places) // PLACES + 1] // step
    share = 1 - float(there[tuple(places.T)].mean())
    if share <= OUTSIDE:
        return []
    cause = "lies outside the body in more than a tenth of its voxels"
    return [(cause, "look whether image and label map belong together, or one is flipped")]


def _body(image: Array, name: str) -> Array:
    """Where a body is: in CT what is solid and encloses, else what is not constant air."""
    if name != "ct" or image.ndim < 3:
        return body(image)
    solid = image > SOLID_HU
    filled = solid.copy()
    for axis in range(3):
        for plane, out in zip(np.moveaxis(solid, axis, 0), np.moveaxis(filled, axis, 0)):
            np.logical_or(out, ndimage.binary_fill_holes(plane), out=out)
    return filled if solid.any() else np.ones_like(solid)  # it is told that this is hardly in HU
