"""Generalised energy distance: the definition pair by pair, and what it must be 0 for."""

import numpy as np
import pytest

from oncoseg.blocks.energy import distances, ged
from oncoseg.errors import BadData


def drawn(count, seed, share=0.4):
    return np.random.default_rng(seed).random((count, 5, 6)) < share


def iou(one, other):
    either = (one | other).sum()
    return (one & other).sum() / either if either else 1.0


def test_it_is_the_definition_over_every_pair():
    for seed in range(5):
        samples, raters = drawn(4, seed), drawn(3, 100 + seed, share=0.2)
        across = np.mean([1 - iou(s, y) for s in samples for y in raters])
        within = np.mean([1 - iou(s, t) for s in samples for t in samples])
        among = np.mean([1 - iou(y, z) for y in raters for z in raters])
        assert ged(samples, raters) == pytest.approx(2 * across - within - among, abs=1e-12)


def test_empty_masks_are_equal_and_one_empty_mask_is_far():
    empty, full = np.zeros((2, 4, 4), bool), np.ones((2, 4, 4), bool)
    assert ged(empty, empty) == 0
    assert ged(empty, full) == 2
    assert distances(empty[:1], full[:1])[0, 0] == 1


def test_equal_shares_of_equal_masks_are_no_distance():
    raters = drawn(3, 0)
    assert ged(raters, raters) == pytest.approx(0, abs=1e-12)
    assert ged(np.concatenate([raters, raters]), raters[::-1]) == pytest.approx(0, abs=1e-12)
    assert ged(raters[[0, 0, 1, 2]], raters) > 0


def test_one_answer_pays_for_raters_that_disagree():
    near, far = np.zeros((2, 4, 4), bool)
    near[:2], far[2:] = True, True
    raters = np.stack([near, far])
    # Half of the raters are 1 away from either answer and they are 1/2 apart on average.
    assert ged(near[None], raters) == pytest.approx(2 * 0.5 - 0 - 0.5)
    assert ged(raters, raters) == 0


def test_it_falls_as_samples_come_nearer_and_is_never_negative():
    raters = np.zeros((2, 10, 10), bool)
    raters[0, :5], raters[1, :6] = True, True
    values = []
    for rows in (10, 9, 8, 7, 6):
        sample = np.zeros((1, 10, 10), bool)
        sample[0, :rows] = True
        values.append(ged(sample, raters))
    assert values == sorted(values, reverse=True)
    assert all(ged(drawn(3, seed), drawn(4, seed + 50)) >= 0 for seed in range(30))


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(BadData, match="empty"):
        ged(np.zeros((0, 4, 4)), np.zeros((1, 4, 4)))
    with pytest.raises(BadData, match="one grid"):
        ged(np.zeros((1, 4, 4)), np.zeros((1, 4, 5)))
