"""Squares by hand, and a proper score: the true probability costs least."""

import numpy as np
import pytest

from oncoseg import build


def test_squares_by_hand():
    found = build("metrics", "brier")(np.array([[0.9, 0.2]]), np.array([[True, True]]), (1, 1))
    assert found == pytest.approx((0.01 + 0.64) / 2)


def test_the_true_probability_costs_least():
    truth = np.random.default_rng(0).random((200, 200)) < 0.3
    metric = build("metrics", "brier:margin_mm=inf")
    costs = [metric(np.full(truth.shape, p), truth, (1, 1)) for p in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert int(np.argmin(costs)) == 2
    assert costs[2] == pytest.approx(0.3 * 0.7, abs=0.01)
