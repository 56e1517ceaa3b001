import numpy as np

from oncoseg import build


def test_what_is_rightly_left_out():
    truth, prediction = np.zeros((2, 4, 5), bool)
    truth[0], prediction[:2] = True, True
    assert build("metrics", "specificity")(prediction, truth, (1, 1)) == 10 / 15
    everything = np.ones_like(truth)
    assert build("metrics", "specificity")(prediction, everything, (1, 1)) == 1
