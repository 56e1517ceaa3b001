"""Grey level runs: how many voxels of one level follow one another, and 16 features of that.

As the Image Biomarker Standardization Initiative defines them,
https://doi.org/10.1148/radiol.2020191145
"""

from __future__ import annotations

import numpy as np

from oncoseg.blocks.discretise import Levels
from oncoseg.blocks.texture_counts import RUNS, averaged, counted, features
from oncoseg.case import Array


def glrlm(levels: Levels, *, merged: bool = False) -> dict[str, float]:
    """Features averaged over all directions, or of the runs in all of them together."""
    runs = [_runs(levels, step) for step in levels.directions]
    voxels = len(levels.inside)
    if merged:
        both = (np.concatenate(part) for part in zip(*runs))
        return features(counted(*both), voxels * len(runs), RUNS)
    return averaged([features(counted(*each), voxels, RUNS) for each in runs])


def _runs(levels: Levels, step: int) -> tuple[Array, Array]:
    """Level and length of every run along a direction, followed from its first voxel."""
    flat = levels.padded.ravel()
    first = levels.beside(-step) != levels.values
    level, place = levels.values[first], levels.inside[first]
    length = np.ones(len(place), np.int64)
    going = np.arange(len(place))
    while len(going):
        place = place + step
        on = flat[place] == level[going]
        going, place = going[on], place[on]
        length[going] += 1
    return level, length
