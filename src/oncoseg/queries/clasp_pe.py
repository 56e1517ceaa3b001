"""ClaSP PE: entropy stratified by class, noised much in the first rounds and hardly in the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.boxes import best, entropy, means, powered, rooms
from oncoseg.case import Array, Box, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Query, Wanted
from oncoseg.registry import Card

CARD = Card(
    "Finally Outshining the Random Baseline: A Simple and Effective Solution for Active Learning "
    "in 3D Biomedical Imaging",
    2026,
    arxiv="2601.13677",
    reading="Boxes are picked from the whole pool at once, so that only chosen boxes block others; "
    "the published code picks candidates volume by volume. Regions stand for classes.",
)
ALL = -1  # the map of no class in particular


class ClaspPe(Query):
    """Maps p_c H of each region c and H itself, as box means U; score log U + Gumbel(0, 1/beta).

    A share `foreground` of the boxes is split evenly over the regions, the rest are taken by H
    alone. beta = first (last / first)^done grows from round to round.
    """

    def __init__(
        self, *, foreground: float = 0.66, first: float = 1.0, last: float = 100.0
    ) -> None:
        if not (0 <= foreground <= 1 and first > 0 and last > 0):
            raise BadOption("clasp_pe takes foreground from 0 to 1, first and last above 0")
        self.foreground, self.first, self.last = foreground, first, last

    def pick(self, pool: Sequence[Prediction], wanted: Wanted) -> list[Box]:
        """The regions come in random order; the boxes of one block those of the next."""
        rng = np.random.default_rng([wanted.seed, len(wanted.taken)])
        room = rooms({one.case: one.grid.shape for one in pool}, wanted.size, wanted.taken)
        unsure = {one.case: entropy(one) for one in pool}
        regions = len(pool[0].task.regions) if pool else 0
        found: list[Box] = []
        for region, share in shares(wanted.count, regions, self.foreground, rng).items():
            scores = {
                one.case: powered(
                    means(_of(one, region, unsure[one.case]), room[one.case].size),
                    self.beta(wanted.done),
                    rng,
                )
                for one in pool
            }
            found += best(room, scores, share)
        return found

    def beta(self, done: float) -> float:
        """The exponent of U in the chance of a box, from `first` to `last`."""
        return float(self.first * (self.last / self.first) ** done)


def shares(count: int, regions: int, foreground: float, rng: np.random.Generator) -> dict[int, int]:
    """Region -> boxes taken by its map, in random order; `count` in sum.

    What cannot be split evenly goes to regions drawn by chance.
    """
    aimed = int(count * foreground) if regions else 0
    each, over = divmod(aimed, max(1, regions))
    lucky = set(rng.permutation(regions)[:over].tolist())
    found = {region: each + (region in lucky) for region in range(regions)} | {ALL: count - aimed}
    order = rng.permutation(list(found)).tolist()
    return {region: found[region] for region in order}


def _of(prediction: Prediction, region: int, unsure: Array) -> Array:
    return unsure if region == ALL else prediction.probability[region].astype(np.float32) * unsure
