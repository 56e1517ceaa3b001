"""Predictive entropy: the boxes in which a model is least sure on average."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.boxes import best, entropy, means, rooms
from oncoseg.case import Box, Prediction
from oncoseg.parts import Query, Wanted
from oncoseg.registry import Card

CARD = Card(
    "A Mathematical Theory of Communication",
    1948,
    doi="10.1002/j.1538-7305.1948.tb01338.x",
    reading="The entropy of overlapping regions is the sum of each one's own.",
)


class Entropy(Query):
    """H of the mean probabilities, its mean over a box, the best boxes that do not overlap."""

    def pick(self, pool: Sequence[Prediction], wanted: Wanted) -> list[Box]:
        """Deterministic."""
        room = rooms({one.case: one.grid.shape for one in pool}, wanted.size, wanted.taken)
        scores = {one.case: means(entropy(one), room[one.case].size) for one in pool}
        return best(room, scores, wanted.count)
