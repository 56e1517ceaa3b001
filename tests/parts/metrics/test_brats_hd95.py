"""Distances of found lesions, and the penalty for the others."""

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption

SHAPE, MM = (40, 20, 20), (1.0, 1.0, 1.0)


def cubes(*starts, wide=4):
    made = np.zeros(SHAPE, bool)
    for start in starts:
        made[start : start + wide, 8:12, 8:12] = True
    return made


def test_missed_and_invented_lesions_cost_the_penalty():
    metric = build("metrics", "brats_hd95")
    assert metric(cubes(2), cubes(2), MM) == 0
    assert metric(cubes(2), cubes(2, 20), MM) == 374 / 2
    assert metric(cubes(2, 20), cubes(2), MM) == 374 / 2
    assert metric(cubes(30), cubes(2), MM) == 374
    assert build("metrics", "brats_hd95:penalty_mm=100")(cubes(2), cubes(2, 20), MM) == 50


def test_each_lesion_has_its_own_distance():
    distance = build("metrics", "hd95:mesh=true")
    one = distance(cubes(2, wide=7), cubes(2), MM)
    assert one > 2
    found = build("metrics", "brats_hd95")(cubes(2, wide=7) | cubes(20), cubes(2, 20), MM)
    assert found == pytest.approx((one + 0) / 2)


def test_a_missing_case_costs_what_no_prediction_exceeds():
    metric = build("metrics", "brats_hd95")
    assert metric.limit(cubes(2), MM) == 374
    assert metric.limit(cubes(2), (10, 10, 30)) == pytest.approx(np.hypot(np.hypot(400, 200), 600))


def test_a_penalty_below_zero_is_refused():
    with pytest.raises(BadOption, match="penalty_mm"):
        build("metrics", "brats_hd95:penalty_mm=-1")
