import numpy as np
import pytest

from oncoseg import build


def test_the_sum_of_intersections_over_the_sum_of_unions():
    truth, prediction = np.zeros((2, 30, 30), bool)
    truth[0:10, 0:10] = truth[20:30, 0:10] = True
    prediction[0:10, 0:8] = prediction[20:24, 0:10] = prediction[26:30, 0:10] = True
    prediction[0:5, 20:25] = True
    # 80 of 100 in the first; the second is split: 40 of 100, the other half and the invented
    # lesion add to the union.
    value = build("metrics", "aji")(prediction, truth, (1, 1))
    assert value == pytest.approx((80 + 40) / (100 + 100 + 40 + 25))


def test_a_missed_lesion_adds_to_the_union():
    truth, prediction = np.zeros((2, 12, 12), bool)
    truth[0:4, 0:4] = truth[8:12, 8:12] = prediction[0:4, 0:4] = True
    assert build("metrics", "aji")(prediction, truth, (1, 1)) == 0.5
