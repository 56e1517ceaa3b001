"""Two masks laid on one another: checked once, then counted voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadData


@dataclass(frozen=True)
class Counts:
    """Voxels in both masks, in the prediction, in the truth and in the image.

    `voxel_ml` is the size of one; a pixel of a 2-D image counts as 1 mm thick.
    """

    both: int
    predicted: int
    true: int
    image: int
    voxel_ml: float


def check(prediction: Array, truth: Array, spacing: Sequence[float]) -> None:
    """Refuse what would compare silently wrong: raises `BadData`.

    Masks have to be boolean and of one shape, in two or three dimensions, and every spacing above
    zero.
    """
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        kinds = f"{prediction.dtype} and {truth.dtype}"
        raise BadData(f"masks to compare are {kinds}; make them boolean, as 'label == 1'")
    if prediction.shape != truth.shape:
        shapes = f"{prediction.shape} and {truth.shape}"
        raise BadData(f"masks to compare have the shapes {shapes}; bring both on one grid")
    if truth.ndim not in (2, 3) or len(spacing) != truth.ndim:
        shape = f"of {truth.ndim} dimensions with {len(spacing)} spacings"
        raise BadData(f"masks to compare are {shape}; give two or three, with a spacing for each")
    if not all(np.isfinite(length) and length > 0 for length in spacing):
        raise BadData(f"the spacing {tuple(spacing)} is not above zero; give mm an axis")
