import numpy as np
import pytest

from oncoseg import build


@pytest.mark.parametrize(("size", "percent"), [(0, 100), (2, 50), (4, 0), (6, 50), (16, 300)])
def test_percent_of_the_true_volume_too_little_as_too_much(size, percent):
    truth, prediction = np.zeros((2, 20, 8, 8), bool)
    truth[:4] = True
    prediction[20 - size :] = True
    value = build("metrics", "relative_volume_difference")(prediction, truth, (0.5, 0.5, 4))
    assert value == pytest.approx(percent)
