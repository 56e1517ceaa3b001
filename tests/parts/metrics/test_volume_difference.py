import numpy as np
import pytest

from oncoseg import build


@pytest.mark.parametrize("size", [2, 6])
def test_millilitres_too_little_as_too_much(size):
    truth, prediction = np.zeros((2, 20, 20, 20), bool)
    truth[:4, :10, :10] = True
    prediction[-size:, -10:, -10:] = True  # elsewhere, which does not matter
    value = build("metrics", "volume_difference")(prediction, truth, (0.5, 0.5, 4))
    assert value == pytest.approx(200 * 0.5 * 0.5 * 4 / 1000)
