"""Grey level zones: connected voxels of one level, how large and how far from the edge they are.

Size zones (GLSZM) and distance zones (GLDZM), 16 features each, as the Image Biomarker
Standardization Initiative defines them. https://doi.org/10.1148/radiol.2020191145
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from oncoseg.blocks.discretise import Levels
from oncoseg.blocks.texture_counts import DISTANCES, ZONES, counted, features
from oncoseg.case import Array


def zones(levels: Levels) -> tuple[Array, Array]:
    """The zone of each voxel (N,), from 0, and the level of each zone; neighbours touch anyhow."""
    count = len(levels.inside)
    rank = np.zeros(levels.padded.size, np.int32)
    rank[levels.inside] = np.arange(count)
    starts, ends = [], []
    for step in levels.directions:
        alike = np.flatnonzero(levels.beside(step) == levels.values).astype(np.int32)
        starts.append(alike)
        ends.append(rank[levels.inside[alike] + step])
    edges = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(edges[0]), bool), edges), (count, count))
    found, zone = connected_components(graph, directed=False)
    level = np.empty(found, levels.values.dtype)
    level[zone] = levels.values
    return zone, level


def depth(mask: Array) -> Array:
    """How many steps across faces each voxel of a mask (*S) is from its edge, 1 on it."""
    away = ndimage.distance_transform_cdt(np.pad(mask, 1), "taxicab")
    return np.asarray(away[(slice(1, -1),) * mask.ndim])


def glszm(zoned: tuple[Array, Array]) -> dict[str, float]:
    """Features of how many voxels zones have; `zoned` as `zones` gives them."""
    zone, level = zoned
    return features(counted(level, np.bincount(zone)), len(zone), ZONES)


def gldzm(zoned: tuple[Array, Array], away: Array) -> dict[str, float]:
    """Features of how far zones are from the edge; a zone is as far as its nearest voxel.

    `away` (N,) holds the `depth` of each voxel in the whole mask, also where its edge has no level.
    """
    zone, level = zoned
    nearest = np.full(len(level), away.max())
    np.minimum.at(nearest, zone, away)
    return features(counted(level, nearest), len(zone), DISTANCES)
