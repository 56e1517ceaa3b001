import numpy as np
import pytest

from oncoseg import build


def test_the_part_of_the_prediction_that_is_true():
    truth = np.zeros((10, 10), bool)
    truth[:4] = True
    prediction = np.zeros_like(truth)
    prediction[3:] = True
    precision = build("metrics", "precision")
    assert precision(prediction, truth, (1, 1)) == pytest.approx(10 / 70)
    assert precision(truth & prediction, truth, (1, 1)) == 1


def test_predicting_nothing_is_no_way_to_be_precise():
    truth = np.ones((3, 3), bool)
    assert build("metrics", "precision")(~truth, truth, (1, 1)) == 0
