"""Aggregated Jaccard index: one IoU over all lesions, where split and invented ones count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, lesions
from oncoseg.blocks.surface import pair
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "A Dataset and a Technique for Generalized Nuclear Segmentation for Computational Pathology",
    2017,
    doi="10.1109/TMI.2017.2677499",
    reading="Instances are connected components of the region; one predicted instance may be the "
    "best of several true ones, as in the paper's algorithm.",
)


class Aji(Metric):
    """sum |T_i and P_j| / (sum |T_i or P_j| + sum |P_k|).

    j is the predicted lesion with the largest IoU with true lesion i; k are those that are the best
    of none.
    """

    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26) -> None:
        self.connectivity = checked(connectivity)

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> 0 to 1."""
        both = pair(prediction, truth, spacing)
        if any(both.empty):
            return float(all(both.empty))
        found = lesions(both, self.connectivity)
        order = np.lexsort((-found.iou, found.pairs[:, 1]))
        _, first = np.unique(found.pairs[order, 1], return_index=True)
        best = order[first]
        left_out = np.ones(len(found.predicted), bool)
        left_out[found.pairs[best, 0]] = False
        shared = found.overlap[best].sum()
        used = found.predicted[found.pairs[best, 0]].sum()
        union = found.true.sum() + used - shared
        return float(shared / (union + found.predicted[left_out].sum()))
