import numpy as np
import pytest

from oncoseg import build


def test_twice_the_overlap_over_the_sum():
    truth = np.zeros((10, 10, 10), bool)
    truth[:4] = True  # 400
    prediction = np.zeros_like(truth)
    prediction[3:5] = True  # 200, of which 100 are true
    value = build("metrics", "dice")(prediction, truth, (1, 1, 5))
    assert value == pytest.approx(2 * 100 / 600)
    iou = build("metrics", "iou")(prediction, truth, (1, 1, 5))
    assert value == pytest.approx(2 * iou / (1 + iou))
