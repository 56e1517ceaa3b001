"""The scores of CURVAS by hand, and its integral by numbers."""

import math

import numpy as np
import pytest
from scipy import integrate, special

from oncoseg.errors import BadData
from oncoseg.evaluate.curvas import crps, curvas

RATERS = np.array([[np.arange(10) < length] for length in (4, 6, 6)])


def test_scores_by_hand():
    """All saw 4 pixels, none saw the last 4; 2 of the 6 that anyone drew are in dispute."""
    mask = np.arange(10)[None] < 7
    probability = np.array([[1, 1, 0.8, 0.8, 0.5, 0.5, 0.4, 0, 0, 0]])
    found = curvas(mask, probability, RATERS, 0.5)
    assert found.consensus_dice == pytest.approx(2 * 4 / (5 + 4))
    assert found.confidence == pytest.approx((0.9 + 1 - 0.1) / 2)
    assert found.dissensus == pytest.approx(2 / 6)
    volumes = np.array([2, 3, 3])
    assert found.crps_ml == pytest.approx(crps(2.5, volumes.mean(), volumes.std()))


def test_what_is_drawn_where_raters_differ_costs_nothing():
    for length in (4, 5, 6):
        mask = np.arange(10)[None] < length
        assert curvas(mask, mask.astype(float), RATERS, 1.0).consensus_dice == 1


def test_raters_who_agree_leave_no_dissensus_and_an_absolute_error():
    same = np.repeat(RATERS[:1], 3, axis=0)
    found = curvas(same[0], np.full((1, 10), 0.5), same, 1.0)
    assert found.dissensus == 0
    assert found.crps_ml == 1  # 5 predicted, 4 seen
    nothing = np.zeros((2, 1, 10), bool)
    empty = curvas(nothing[0], np.zeros((1, 10)), nothing, 1.0)
    assert (empty.consensus_dice, empty.dissensus, empty.crps_ml) == (1, 0, 0)
    assert math.isnan(empty.confidence)  # nobody saw it, so there is nothing to be sure of


@pytest.mark.parametrize("value", [-3.0, 4.0, 5.0, 9.5, 60.0])
def test_the_closed_form_is_the_integral(value):
    def squared(y):
        return (special.ndtr((y - 5) / 2) - (y >= value)) ** 2

    edges = sorted([-40.0, value, 100.0])
    parts = [integrate.quad(squared, *pair, limit=200)[0] for pair in (edges[:2], edges[1:])]
    assert crps(value, 5, 2) == pytest.approx(sum(parts), abs=1e-6)


def test_at_the_mean_and_far_away():
    assert crps(5, 5, 2) == pytest.approx(2 * (math.sqrt(2) - 1) / math.sqrt(math.pi))
    assert crps(105, 5, 2) == pytest.approx(100 - 2 / math.sqrt(math.pi))


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadData, match="give booleans"):
        curvas(RATERS[0], np.zeros((1, 9)), RATERS, 1.0)
    with pytest.raises(BadData, match="give booleans"):
        curvas(RATERS[0].astype(int), np.zeros((1, 10)), RATERS, 1.0)
