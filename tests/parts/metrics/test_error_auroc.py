"""Pairs counted by hand, and what a perfect, a useless and a misleading doubt are worth."""

import math

import numpy as np
import pytest

from oncoseg import build

METRIC = build("metrics", "error_auroc:margin_mm=inf")


def test_pairs_by_hand():
    truth = np.array([[True, True, False, False]])
    # right and sure 0.9; wrong and sure 0.6; right and sure 0.6; wrong and sure 0.8
    found = METRIC(np.array([[0.9, 0.4, 0.4, 0.8]]), truth, (1, 1))
    assert found == pytest.approx((1 + 0.5 + 1 + 0) / 4)


@pytest.mark.parametrize(
    ("wrong", "right", "value"), [(0.6, 0.9, 1), (0.9, 0.6, 0), (0.7, 0.7, 0.5)]
)
def test_doubt_that_is_perfect_misleading_or_useless(wrong, right, value):
    truth = np.zeros((9, 9), bool)
    truth[2:6, 2:6] = True
    error = np.random.default_rng(0).random(truth.shape) < 0.2
    sure = np.where(error, wrong, right)
    assert METRIC(np.where(truth != error, sure, 1 - sure), truth, (1, 1)) == pytest.approx(value)


def test_it_is_the_share_of_all_pairs():
    rng = np.random.default_rng(1)
    truth = rng.random((12, 12)) < 0.4
    p = np.round(np.clip(0.4 * truth + rng.normal(0.3, 0.2, truth.shape), 0, 1), 1)
    sure, right = np.abs(p - 0.5).round(1), (p >= 0.5) == truth
    pairs = sure[right][:, None] - sure[~right]
    assert METRIC(p, truth, (1, 1)) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_where_nothing_is_wrong_there_is_nothing_to_find():
    truth = np.eye(4, dtype=bool)
    assert METRIC(truth.astype(float), truth, (1, 1)) == 1
    assert METRIC(1.0 - truth, truth, (1, 1)) == 0
    assert math.isnan(METRIC(np.full((4, 4), np.nan), truth, (1, 1)))
