"""Several raters of one structure: how far they agree, and how near a prediction comes to them all.

No rater is the truth: what none of them can reach on the others is no fault of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncoseg.blocks.energy import distances, ged
from oncoseg.case import Array
from oncoseg.errors import BadData

HALF = 0.5


@dataclass(frozen=True)
class Agreement:
    """Of several raters' masks of one structure.

    `dice` is the mean over pairs of raters and `lowest` that of the pair that agrees least;
    `left_out` is the mean Dice of each rater with the consensus of the others, what a person
    reaches. `spread` is the mean of 1 - IoU over all pairs, those of a rater with itself included,
    as in the energy distance; `consensus_ged` is the energy distance of the one consensus mask from
    all raters, so what an answer costs that leaves out their disagreement. `volume_ratio` is the
    largest volume over the smallest, infinite if a rater drew nothing and another something.
    """

    raters: int
    dice: float
    lowest: float
    left_out: float
    spread: float
    consensus_ged: float
    volume_ratio: float


@dataclass(frozen=True)
class Nearness:
    """Of samples, or of one mask, to several raters.

    `ged` is the squared generalised energy distance, 0 for samples that spread as the raters do.
    `best` is the mean over raters of the Dice of the sample nearest to each, `consensus` the Dice
    of the samples' consensus with that of the raters.
    """

    ged: float
    best: float
    consensus: float


def agreement(masks: Array) -> Agreement:
    """Masks (raters, *S) -> how far their raters agree; two empty masks agree wholly.

    Raises `BadData` for fewer than two raters.
    """
    masks = _checked(masks)
    if len(masks) < 2:
        raise BadData("one rater alone has nobody to agree with; give the masks of two or more")
    apart = distances(masks, masks)
    pairs = _dice(apart)[np.triu_indices(len(masks), 1)]
    others = [consensus(np.delete(masks, place, axis=0)) for place in range(len(masks))]
    alone = [
        float(_dice(distances(mask[None], other[None]))[0, 0]) for mask, other in zip(masks, others)
    ]
    sizes = np.count_nonzero(masks.reshape(len(masks), -1), axis=1)
    smallest, largest = int(sizes.min()), int(sizes.max())
    ratio = largest / smallest if smallest else (float("inf") if largest else 1.0)
    return Agreement(
        raters=len(masks),
        dice=float(pairs.mean()),
        lowest=float(pairs.min()),
        left_out=float(np.mean(alone)),
        spread=float(apart.mean()),
        consensus_ged=ged(consensus(masks)[None], masks),
        volume_ratio=ratio,
    )


def nearness(samples: Array, masks: Array) -> Nearness:
    """Samples (n, *S) of a prediction and raters' masks (raters, *S) -> how near they come."""
    samples, masks = _checked(samples), _checked(masks)
    both = distances(consensus(samples)[None], consensus(masks)[None])
    return Nearness(
        ged=ged(samples, masks),
        best=float(_dice(distances(samples, masks)).max(axis=0).mean()),
        consensus=float(_dice(both)[0, 0]),
    )


def consensus(masks: Array) -> Array:
    """Masks (n, *S) -> the voxels (*S) that at least half of them hold."""
    return _checked(masks).mean(axis=0) >= HALF


def _checked(masks: Array) -> Array:
    if masks.dtype != np.bool_ or masks.ndim < 3 or not len(masks):
        said = f"{masks.dtype} of {masks.shape}"
        raise BadData(f"masks of several raters are {said}; give booleans, (raters, *S)")
    return masks


def _dice(apart: Array) -> Array:
    """1 - IoU -> Dice, which is 2 IoU / (1 + IoU)."""
    return 2 * (1 - apart) / (2 - apart)
