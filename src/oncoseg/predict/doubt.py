"""How sure each voxel and each lesion is, from the logits of the one pass there is: bytes are kept.

Maps are uint8 in steps of 1/255. `entropy` is 0 where the model is sure and 1 where it knows
nothing; `margin` is how far the label's probability lies before the next one's. Of regions, each of
which is there or not, both are those of the most doubtful one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Prediction, Task

MAPS = ("entropy", "margin")
CHANCE = "chance"  # maps from which lesions get their confidence, where probabilities are not kept
SMALLEST_MM3 = 50.0  # as reports count pieces


def names(task: Task, *, kept: bool) -> tuple[str, ...]:
    """What `doubt` gives: chances of each region, or of the one label of exclusive classes."""
    if kept:
        return MAPS
    regions = [f"{CHANCE}.{name}" for name in task.regions]
    return (*MAPS, *([CHANCE] if task.exclusive else regions))


def doubt(task: Task, logits: Array, *, kept: bool) -> list[Array]:
    """Logits (outputs, *S) -> maps (*S) uint8, in the order of `names`."""
    found = _of_classes(logits) if task.exclusive else _of_regions(logits)
    return [_bytes(values) for values in (found[:2] if kept else found)]


def _of_classes(logits: Array) -> list[Array]:
    """Entropy over its largest, first probability less the second, and the first."""
    top, second = logits[0].copy(), np.full_like(logits[0], -np.inf)
    for row in logits[1:]:
        np.maximum(second, np.minimum(top, row), out=second)
        np.maximum(top, row, out=top)
    total, mean = np.zeros_like(top), np.zeros_like(top)
    for row in logits:
        below = row - top
        share = np.exp(below)
        total += share
        share *= below
        mean += share
    chance = 1 / total
    entropy = (np.log(total) - mean * chance) / np.float32(np.log(len(logits)))
    return [entropy, (1 - np.exp(second - top)) * chance, chance]


def _of_regions(logits: Array) -> list[Array]:
    """Entropy in bits and |2 p - 1| of the region nearest to 1/2, then each probability."""
    nearest = np.abs(logits).min(axis=0)
    low = np.exp(-nearest)
    low /= 1 + low
    high = 1 - low
    entropy = -(low * np.log2(np.maximum(low, 1e-30)) + high * np.log2(high))
    chances = [1 / (1 + np.exp(-np.clip(row, -60, 60))) for row in logits]
    return [entropy, high - low, *chances]


def _bytes(values: Array) -> Array:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def with_lesions(prediction: Prediction) -> Prediction:
    """The prediction with the confidence of its lesions, and no more the maps they were from."""
    maps = {name: one for name, one in prediction.maps.items() if not name.startswith(CHANCE)}
    return prediction.but(lesions=tuple(lesions(prediction)), maps=maps)


def lesions(prediction: Prediction) -> list[dict[str, Any]]:
    """Each piece of a region (corners touch) from 50 mm³, named `<region> <number>`, largest first.

    `confidence` is the mean probability in it: the share of its voxels to be expected right, if
    probabilities are calibrated. Of pictures all pieces count, with an `area`.
    """
    grid, found = prediction.grid, []
    flat = grid.dims == 2
    for place, (name, members) in enumerate(prediction.task.regions.items()):
        drawn = np.zeros(256, dtype=bool)
        drawn[[prediction.task.labels[label] for label in members]] = True
        mask = drawn[prediction.label]
        if not mask.any():
            continue
        inner = bounds(mask)
        chance = _chance(prediction, place, name)[inner]
        scale = 255 if chance.dtype == np.uint8 else 1
        pieces, _ = ndimage.label(mask[inner], np.ones((3,) * grid.dims))
        rows = []
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            values = chance[box][pieces[box] == number]
            size = len(values) * grid.voxel_volume
            if flat or size >= SMALLEST_MM3 * (1 - 1e-6):
                rows.append((size, round(float(values.mean(dtype=np.float64)) / scale, 4)))
        rows.sort(key=lambda row: -row[0])
        found += [
            {
                "name": f"{name} {number}",
                "region": name,
                "area" if flat else "volume_ml": round(size / (1 if flat else 1000), 4),
                "confidence": confidence,
            }
            for number, (size, confidence) in enumerate(rows, start=1)
        ]
    return found


def _chance(prediction: Prediction, place: int, name: str) -> Array:
    """The probability of a region where it is drawn (*S): float, or uint8 in steps of 1/255."""
    if len(prediction.probability):
        return prediction.probability[place]
    alone = CHANCE in prediction.maps
    return prediction.maps[CHANCE if alone else f"{CHANCE}.{name}"]
