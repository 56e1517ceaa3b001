"""A voxel and all its neighbours: how they differ (NGTDM), and how many are alike (NGLDM).

As the Image Biomarker Standardization Initiative defines them, at a distance of one voxel and,
for the latter, coarseness 0. https://doi.org/10.1148/radiol.2020191145
"""

from __future__ import annotations

import numpy as np

from oncoseg.blocks.discretise import Levels
from oncoseg.blocks.texture_counts import DEPENDENCES, counted, features

COARSEST = 1e6  # as the standard has it where no level differs from its neighbours


def ngtdm(levels: Levels) -> dict[str, float]:
    """Five features of how each level differs from the mean of its neighbours in the region.

    {} if no two voxels touch.
    """
    total, count = np.zeros(len(levels.inside)), np.zeros(len(levels.inside))
    for step in levels.directions:
        for way in (step, -step):
            beside = levels.beside(way)
            total += beside
            count += beside > 0
    valid = count > 0
    if not valid.any():
        return {}
    here = levels.values[valid]
    apart = np.abs(here - total[valid] / count[valid])
    numbers = np.bincount(here)
    i = np.flatnonzero(numbers)
    n, s = numbers[i], np.bincount(here, apart)[i]
    voxels, present = len(here), len(i)
    p, between = n / voxels, i[:, None] - i
    busy = np.abs((i * p)[:, None] - i * p).sum()
    weight = p * s
    joint = p[:, None] + p
    found = {
        "coarseness": min(COARSEST, 1 / weight.sum()) if weight.any() else COARSEST,
        "contrast": p @ between**2 @ p / max(1, present * (present - 1)) * s.sum() / voxels,
        "busyness": weight.sum() / busy if busy else 0.0,
        "complexity": (np.abs(between) * (weight[:, None] + weight) / joint).sum() / voxels,
        "strength": (joint * between**2).sum() / s.sum() if s.any() else 0.0,
    }
    return {name: float(value) for name, value in found.items()}


def ngldm(levels: Levels) -> dict[str, float]:
    """17 features of how many voxels a voxel is like, itself and its neighbours counted."""
    alike = np.ones(len(levels.inside), np.int64)
    for step in levels.directions:
        for way in (step, -step):
            alike += levels.beside(way) == levels.values
    counts = counted(levels.values, alike)
    energy = float(np.square(counts / counts.sum()).sum())
    return features(counts, len(alike), DEPENDENCES) | {"dependence count energy": energy}
