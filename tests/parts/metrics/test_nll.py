"""Logarithms by hand, and what one certain mistake may cost."""

import math

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption


def test_logarithms_by_hand():
    found = build("metrics", "nll")(np.array([[0.5, 0.25]]), np.array([[True, False]]), (1, 1))
    assert found == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)


def test_a_certain_mistake_costs_the_floor_and_certain_truth_nothing():
    truth = np.array([[True, False]])
    metric = build("metrics", "nll:floor=0.01")
    assert metric(truth.astype(float), truth, (1, 1)) == 0
    assert metric(1 - truth.astype(float), truth, (1, 1)) == pytest.approx(-math.log(0.01))
    assert metric.limit(truth, (1, 1)) == pytest.approx(-math.log(0.01))


def test_a_floor_that_is_no_probability_is_refused():
    with pytest.raises(BadOption, match="floor"):
        build("metrics", "nll:floor=0")
