"""Aggregated Jaccard index: one IoU over all lesions, where split and invented ones count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.lesions import checked, told_apart
from oncoseg.case import Array
from oncoseg.parts import Metric
from oncoseg.registry import Card

CARD = Card(
    "A Dataset and a Technique for Generalized Nuclear Segmentation for Computational Pathology",
    2017,
    doi="10.1109/TMI.2017.2677499",
    reading="Of masks, instances are connected components; one predicted instance may be the "
    "best of several true ones, as in the paper's algorithm.",
)


class Aji(Metric):
    """sum |T_i and P_j| / (sum |T_i or P_j| + sum |P_k|).

    j is the predicted lesion with the largest IoU with true lesion i; k are those that are the best
    of none.
    """

    instances = True
    empty = "1 if both are empty, 0 if one is"

    def __init__(self, *, connectivity: int = 26) -> None:
        self.connectivity = checked(connectivity)

    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks or instance maps (*S), spacing in mm -> 0 to 1."""
        found = told_apart(prediction, truth, spacing, self.connectivity)
        if not (len(found.predicted) and len(found.true)):
            return float(len(found.predicted) == len(found.true))
        order = np.lexsort((-found.iou, found.pairs[:, 1]))
        _, first = np.unique(found.pairs[order, 1], return_index=True)
        best = order[first]
        left_out = np.ones(len(found.predicted), bool)
        left_out[found.pairs[best, 0]] = False
        shared = found.overlap[best].sum()
        used = found.predicted[found.pairs[best, 0]].sum()
        union = found.true.sum() + used - shared
        return float(shared / (union + found.predicted[left_out].sum()))
