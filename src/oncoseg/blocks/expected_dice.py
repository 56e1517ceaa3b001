"""The Dice to be expected if probabilities are calibrated: 2 sum(p m) / sum(p + m)."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Prediction


def ratio(inside: float, total: float) -> float:
    """Of sum(p m) and sum(p + m), in voxels.

    A region that is empty and nowhere probable counts as 1.
    """
    return round(2 * inside / total, 4) if total > 1 else 1.0


def expected_dice(prediction: Prediction) -> dict[str, float]:
    """Region -> expected Dice, as far as the prediction knows it.

    That which was summed up with the prediction, else of its probabilities.
    """
    if prediction.confidence:
        return dict(prediction.confidence)
    values = {}
    for (name, mask), probability in zip(prediction.masks.items(), prediction.probability):
        total = float(probability.sum(dtype=np.float64)) + float(mask.sum())
        values[name] = ratio(float(probability[mask].sum(dtype=np.float64)), total)
    return values
