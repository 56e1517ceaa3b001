import numpy as np
import pytest

from oncoseg import build


def test_the_part_of_the_truth_that_was_found_whatever_else_was_predicted():
    truth = np.zeros((10, 10), bool)
    truth[:4] = True
    sensitivity = build("metrics", "sensitivity")
    prediction = np.zeros_like(truth)
    prediction[3:] = True
    assert sensitivity(prediction, truth, (1, 1)) == pytest.approx(10 / 40)
    assert sensitivity(np.ones_like(truth), truth, (1, 1)) == 1
