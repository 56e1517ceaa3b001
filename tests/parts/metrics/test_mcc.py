import numpy as np
import pytest

from oncoseg import build


def test_it_is_the_correlation_of_both_masks():
    generator = np.random.default_rng(1)
    prediction, truth = (generator.random((7, 8, 9)) > 0.6 for _ in range(2))
    prediction |= truth
    value = build("metrics", "mcc")(prediction, truth, (1, 1, 1))
    assert value == pytest.approx(np.corrcoef(prediction.ravel(), truth.ravel())[0, 1])
    assert build("metrics", "mcc")(~truth, truth, (1, 1, 1)) == pytest.approx(-1)
