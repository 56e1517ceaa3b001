"""Lesion by lesion as BraTS compares: what is close counts as one, what is near counts as found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from oncoseg.blocks.lesions import components
from oncoseg.blocks.surface import Pair
from oncoseg.case import Array
from oncoseg.errors import BadOption

TOUCHING = 26


@dataclass(frozen=True)
class Rule:
    """Voxels by which true lesions grow before they are told apart and looked for.

    True lesions of up to `volume_mm3` are not asked for. Raises `BadOption`.
    """

    dilation: int
    volume_mm3: float

    def __post_init__(self) -> None:
        if self.dilation < 0 or not 0 <= self.volume_mm3 < float("inf"):
            cause = f"not {self.dilation} and {self.volume_mm3}"
            raise BadOption(f"options 'dilation' and 'volume_mm3' take 0 or more, {cause}")


@dataclass(frozen=True)
class Compared:
    """Predicted and true mask of each true lesion that is asked for, and lesions near no true one.

    The predicted mask is of whole predicted lesions; it is empty if the lesion was missed.
    """

    asked: tuple[tuple[Array, Array], ...]
    invented: int


def compared(both: Pair, rule: Rule) -> Compared:
    """The lesions of a prediction and of its truth.

    Parts of the truth that touch once they are dilated are one lesion. Predicted lesions are
    connected components (26); one that touches the dilated true lesion belongs to it, so it may
    belong to several.
    """
    predicted, count = components(both.masks[0], TOUCHING)
    near = np.zeros(count + 1, dtype=bool)
    near[0] = True
    asked = []
    for lesion, grown, box in _lesions(both.masks[1], rule.dilation):
        found = np.unique(predicted[box][grown])
        near[found] = True
        if np.count_nonzero(lesion) * both.counts.voxel_ml * 1000 > rule.volume_mm3:
            true = np.zeros(predicted.shape, dtype=bool)
            true[box] = lesion
            asked.append((np.isin(predicted, found[found > 0]), true))
    return Compared(tuple(asked), int(np.count_nonzero(~near)))


def _lesions(truth: Array, dilation: int) -> Iterator[tuple[Array, Array, tuple[slice, ...]]]:
    """Each true lesion and what it grows to, in the box that holds both."""
    structure = ndimage.generate_binary_structure(truth.ndim, truth.ndim - 1)
    wide = np.pad(truth, dilation)
    grown = ndimage.binary_dilation(wide, structure, dilation) if dilation else wide
    inside = (slice(dilation, -dilation or None),) * truth.ndim
    numbered, _ = components(grown, TOUCHING)
    numbered = numbered[inside] * truth
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, edge.start - dilation), min(size, edge.stop + dilation))
            for edge, size in zip(box, truth.shape)
        )
        lesion = numbered[around] == number
        reach = ndimage.binary_dilation(lesion, structure, dilation) if dilation else lesion
        yield lesion, reach, around
