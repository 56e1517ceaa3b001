"""What runs, zones and dependences have in common: features of a matrix of counts.

Element (i, j) counts what has grey level i and size j, both from 1: a run's length, a zone's voxels
or distance, how many neighbours a voxel is like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oncoseg.case import Array


class Words(NamedTuple):
    """How the standard names short and long things, things, their size, and two of the features."""

    few: str
    many: str
    thing: str
    size: str
    percentage: str
    entropy: str


RUNS = Words("short run", "long run", "run", "run length", "run", "run")
ZONES = Words("small zone", "large zone", "zone", "zone size", "zone", "zone size")
DISTANCES = Words(
    "small distance", "large distance", "zone", "zone distance", "zone", "zone distance"
)
DEPENDENCES = Words(
    "low dependence",
    "high dependence",
    "count",
    "dependence count",
    "dependence count",
    "dependence count",
)


def counted(levels: Array, sizes: Array) -> Array:
    """Level and size of each thing, both (N,) and from 1 -> how many have them (I, J)."""
    shape = (int(levels.max()), int(sizes.max()))
    flat = np.ravel_multi_index((levels - 1, sizes - 1), shape)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def features(counts: Array, voxels: int, words: Words) -> dict[str, float]:
    """Counts (I, J) that are not all 0 -> 16 features; `voxels` is how many there could be."""
    few, many, thing, size = words[:4]
    total = counts.sum()
    share = counts / total
    i, j = np.arange(1.0, counts.shape[0] + 1), np.arange(1.0, counts.shape[1] + 1)
    level, length = share.sum(axis=1), share.sum(axis=0)
    found = {
        f"{few} emphasis": length @ j**-2,
        f"{many} emphasis": length @ j**2,
        f"low grey level {thing} emphasis": level @ i**-2,
        f"high grey level {thing} emphasis": level @ i**2,
        f"{few} low grey level emphasis": i**-2 @ share @ j**-2,
        f"{few} high grey level emphasis": i**2 @ share @ j**-2,
        f"{many} low grey level emphasis": i**-2 @ share @ j**2,
        f"{many} high grey level emphasis": i**2 @ share @ j**2,
        "grey level non-uniformity": level @ level * total,
        "normalised grey level non-uniformity": level @ level,
        f"{size} non-uniformity": length @ length * total,
        f"normalised {size} non-uniformity": length @ length,
        f"{words.percentage} percentage": total / voxels,
        "grey level variance": level @ (i - level @ i) ** 2,
        f"{size} variance": length @ (j - length @ j) ** 2,
        f"{words.entropy} entropy": entropy(share),
    }
    return {name: float(value) for name, value in found.items()}


def entropy(share: Array) -> float:
    """Of probabilities, in bits."""
    here = share[share > 0]
    return max(0.0, float(-(here * np.log2(here)).sum()))


def averaged(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each feature, {} of none."""
    names = found[0] if found else {}
    return {name: float(np.mean([each[name] for each in found])) for name in names}
