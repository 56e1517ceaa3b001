import numpy as np
import pytest

from oncoseg import build


@pytest.mark.parametrize(("connectivity", "count"), [(26, 1), (6, 2)])
def test_a_lesion_that_touches_the_truth_is_none(connectivity, count):
    truth, prediction = np.zeros((2, 9, 9), bool)
    truth[0:3, 0:3] = True
    prediction[2:4, 2:4] = True
    prediction[6, 6] = prediction[7, 7] = True
    metric = build("metrics", f"false_positives:connectivity={connectivity}")
    assert metric(prediction, truth, (1, 1)) == count
