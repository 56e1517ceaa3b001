"""Grey level co-occurrence: which levels lie beside one another, and 25 features of that.

As the Image Biomarker Standardization Initiative defines them, at a distance of one voxel, both
ways. https://doi.org/10.1148/radiol.2020191145
"""

from __future__ import annotations

import math

import numpy as np

from oncoseg.blocks.discretise import Levels
from oncoseg.blocks.texture_counts import averaged, entropy
from oncoseg.case import Array


def glcm(levels: Levels, *, merged: bool = False) -> dict[str, float]:
    """Features averaged over all directions that have pairs, or of all pairs together.

    {} if no two voxels touch.
    """
    found = [_pairs(levels, step) for step in levels.directions]
    matrices = [matrix for matrix in found if matrix.any()]
    if merged and matrices:
        matrices = [np.sum(matrices, axis=0)]
    return averaged([_features(matrix / matrix.sum()) for matrix in matrices])


def _pairs(levels: Levels, step: int) -> Array:
    """How often level i + 1 has level j + 1 for a neighbour, ahead or behind (I, I)."""
    size, beside = levels.count, levels.beside(step)
    both = beside > 0
    flat = (levels.values[both] - 1) * size + beside[both] - 1
    ahead = np.bincount(flat, minlength=size**2).reshape(size, size)
    return np.asarray(ahead + ahead.T)


def _features(share: Array) -> dict[str, float]:
    """Symmetric probabilities (I, I) -> features by name.

    Where all pairs are of one level the correlation is 1 and that of information 0.
    """
    size = len(share)
    i, k = np.arange(1.0, size + 1), np.arange(float(size))
    first, second = np.indices(share.shape)
    apart = np.bincount(np.abs(first - second).ravel(), share.ravel())
    both = np.bincount((first + second).ravel(), share.ravel())
    level, total = share.sum(axis=1), np.arange(2.0, 2 * size + 1)
    mean, difference = level @ i, apart @ k
    variance, cluster = level @ (i - mean) ** 2, total - 2 * mean
    joint, alone = entropy(share), entropy(level)
    found = {
        "joint maximum": share.max(),
        "joint average": mean,
        "joint variance": variance,
        "joint entropy": joint,
        "difference average": difference,
        "difference variance": apart @ (k - difference) ** 2,
        "difference entropy": entropy(apart),
        "sum average": both @ total,
        "sum variance": both @ cluster**2,
        "sum entropy": entropy(both),
        "angular second moment": np.square(share).sum(),
        "contrast": apart @ k**2,
        "dissimilarity": difference,
        "inverse difference": apart @ (1 / (1 + k)),
        "normalised inverse difference": apart @ (1 / (1 + k / size)),
        "inverse difference moment": apart @ (1 / (1 + k**2)),
        "normalised inverse difference moment": apart @ (1 / (1 + (k / size) ** 2)),
        "inverse variance": apart[1:] @ (1 / k[1:] ** 2),
        "correlation": (i @ share @ i - mean**2) / variance if variance > 1e-12 else 1.0,
        "autocorrelation": i @ share @ i,
        "cluster tendency": both @ cluster**2,
        "cluster shade": both @ cluster**3,
        "cluster prominence": both @ cluster**4,
        "information correlation 1": (joint - 2 * alone) / alone if alone > 1e-12 else 0.0,
        "information correlation 2": math.sqrt(1 - math.exp(min(0.0, 2 * (joint - 2 * alone)))),
    }
    return {name: float(value) for name, value in found.items()}
