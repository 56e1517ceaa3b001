"""Foreground-aware random: some boxes anywhere, the others where a person sees a structure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from scipy import ndimage

from oncoseg.blocks.boxes import rooms
from oncoseg.case import Array, Box, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Query, Wanted
from oncoseg.registry import Card

CARD = Card(
    "nnActive: A Framework for Evaluation of Active Learning in 3D Biomedical Segmentation",
    2025,
    arxiv="2511.19183",
    reading="As in the published code, it is shown the true labels: it stands for a person who "
    "sees structures and aims at them. Where a pool holds predictions, it aims at those.",
)


class ForegroundRandom(Query):
    """A share `foreground` of the boxes has a voxel of a random label in the middle.

    For half of them, the voxel lies on the label's border. 0.667 and 0.333 are the two published
    kinds, 0 is plain random. Cases take turns, in random order.
    """

    needs = ("truth",)

    def __init__(self, *, foreground: float = 0.667) -> None:
        if not 0 <= foreground <= 1:
            raise BadOption(f"foreground_random takes foreground from 0 to 1, not {foreground}")
        self.foreground = foreground

    def pick(self, pool: Sequence[Prediction], wanted: Wanted) -> list[Box]:
        """No probability is read."""
        rng = np.random.default_rng([wanted.seed, len(wanted.taken)])
        room = rooms({one.case: one.grid.shape for one in pool}, wanted.size, wanted.taken)
        found: list[Box] = []
        misses = 0
        for place in cycle(rng.permutation(len(pool)).tolist()):
            if len(found) >= wanted.count or misses > 4 * len(pool):
                break
            one, there = pool[place], room[pool[place].case]
            # Where nothing can be aimed at in any case, boxes may lie anywhere.
            aimed = rng.random() < self.foreground and misses < 3 * len(pool)
            points = _aims(one.label, rng) if aimed else None
            boxes = there.anywhere(rng) if points is None else there.around(points, rng)
            for box in boxes:
                there.close(box)
            found += boxes
            misses = 0 if boxes else misses + 1
        return found


def _aims(label: Array, rng: np.random.Generator) -> Array:
    """Voxels (n, dims) of one of the labels that are there, or of its border; maybe none."""
    values = np.unique(label[label > 0])
    if not values.size:
        return np.zeros((0, label.ndim), dtype=int)
    mask = label == values[rng.integers(values.size)]
    if rng.random() < 0.5:
        mask &= ~ndimage.binary_erosion(mask, border_value=1)
    return np.argwhere(mask)
