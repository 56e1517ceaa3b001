"""The scores of CURVAS: overlap and confidence where raters agree, and the volume they differ in.

Riera-Marín et al. 2025 (arXiv 2505.08685), for one structure. Their score of the volume integrates
over three deviations about the raters' mean alone, beyond which no error costs more; here it is the
whole integral, in closed form. Their calibration error is `ece:bins=50,margin_mm=inf` of each rater
(theirs is of all organs at once), averaged. Their code hands volumes (Z, Y, X) to a Dice of (batch,
channel, X) and so averages it over lines of voxels; here it is of the whole structure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oncoseg.case import Array
from oncoseg.errors import BadData


@dataclass(frozen=True)
class Curvas:
    """Scores of one structure.

    `consensus_dice` counts only voxels in which all raters agree; 1 if there is nothing in either.
    `confidence` is the mean of the probability where all raters saw the structure, and of its
    complement where none did, (p + 1 - q) / 2; NaN if there is no voxel of either kind.
    `dissensus` is the share of the voxels any rater drew on which they disagree. `crps_ml` is the
    continuous ranked probability score of the predicted volume, 0 at best.
    """

    consensus_dice: float
    confidence: float
    dissensus: float
    crps_ml: float


def curvas(mask: Array, probability: Array, raters: Array, voxel_ml: float) -> Curvas:
    """Predicted mask and probability (*S), masks of raters (raters, *S) -> the scores.

    The predicted volume is the sum of the probability; the raters' volumes are taken for a normal
    distribution with their mean and (population) deviation. Raises `BadData` if shapes or kinds do
    not fit.
    """
    kinds = mask.dtype == raters.dtype == np.bool_ and probability.dtype.kind == "f"
    if not kinds or not (mask.shape == probability.shape == raters.shape[1:]) or not len(raters):
        shapes = f"{mask.dtype} {mask.shape}, {probability.dtype} {probability.shape} and "
        raise BadData(
            f"mask, probability and raters are {shapes}{raters.dtype} {raters.shape}; "
            "give booleans (*S), floats (*S) and booleans (raters, *S)"
        )
    inside = np.logical_and.reduce(raters, axis=0)
    outside = ~np.logical_or.reduce(raters, axis=0)
    agreed = inside | outside
    drawn = np.count_nonzero(~outside)
    volumes = np.count_nonzero(raters.reshape(len(raters), -1), axis=1) * voxel_ml
    volume = float(probability.sum(dtype=np.float64)) * voxel_ml
    return Curvas(
        consensus_dice=_dice(mask & agreed, inside),
        confidence=(_mean(probability[inside]) + 1 - _mean(probability[outside])) / 2,
        dissensus=np.count_nonzero(~agreed) / drawn if drawn else 0.0,
        crps_ml=crps(volume, float(volumes.mean()), float(volumes.std())),
    )


def crps(value: float, mean: float, deviation: float) -> float:
    """Continuous ranked probability score of one value to a normal distribution, in its unit.

    The integral of (F(y) - [y >= value])^2; |value - mean| where the deviation is 0.
    """
    if deviation == 0:
        return abs(value - mean)
    z = (value - mean) / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def _dice(prediction: Array, truth: Array) -> float:
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(prediction & truth) / total if total else 1.0


def _mean(values: Array) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
