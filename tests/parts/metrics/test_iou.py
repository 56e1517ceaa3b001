import numpy as np
import pytest

from oncoseg import build


def test_the_overlap_over_all_that_either_holds():
    truth = np.zeros((10, 10), bool)
    truth[:4] = True  # 40
    prediction = np.zeros_like(truth)
    prediction[3:5] = True  # 20, of which 10 are true: 50 in all
    assert build("metrics", "iou")(prediction, truth, (1, 7)) == pytest.approx(10 / 50)
