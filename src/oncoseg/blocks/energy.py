"""How far a set of segmentations is from a set of raters': the generalised energy distance."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadData


def distances(first: Array, second: Array) -> Array:
    """Masks (n, *S) and (m, *S) -> 1 - IoU of every pair, (n, m); two empty masks are 0 apart.

    Raises `BadData` if a set is empty or the grids differ.
    """
    if not len(first) or not len(second):
        raise BadData("a set of masks is empty; give at least one mask in each")
    if first.shape[1:] != second.shape[1:]:
        raise BadData(
            f"masks of {first.shape[1:]} and of {second.shape[1:]} voxels cannot be compared; "
            "bring them to one grid"
        )
    one, other = (np.asarray(masks).reshape(len(masks), -1) > 0 for masks in (first, second))
    shared = one.astype(np.float64) @ other.astype(np.float64).T
    either = one.sum(1)[:, None] + other.sum(1)[None] - shared
    return 1 - np.divide(shared, either, out=np.ones_like(shared), where=either > 0)


def ged(samples: Array, raters: Array) -> float:
    """Squared generalised energy distance of samples (n, *S) from raters' masks (m, *S).

    2 E d(s, y) - E d(s, s') - E d(y, y') with d = 1 - IoU, each mean over all pairs, those of a
    mask with itself included (Kohl 2018, arXiv 1806.05034, section 3). 0 where both sets hold the
    same masks in the same shares; never negative.
    """
    across, within, among = (
        distances(*pair).mean()
        for pair in ((samples, raters), (samples, samples), (raters, raters))
    )
    return float(2 * across - within - among)
