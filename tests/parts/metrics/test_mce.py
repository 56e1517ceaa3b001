"""The worst bin alone counts."""

import numpy as np
import pytest

from oncoseg import build


def test_the_worst_bin_however_few_voxels_it_holds():
    probability = np.full((1, 100), 0.95)
    truth = np.ones((1, 100), bool)
    probability[0, 0], truth[0, 0] = 0.7, False
    assert build("metrics", "mce")(probability, truth, (1, 1)) == pytest.approx(0.7)
    ece = build("metrics", "ece")(probability, truth, (1, 1))
    assert ece == pytest.approx((99 * 0.05 + 0.7) / 100)
    one = build("metrics", "mce:bins=1")(probability, truth, (1, 1))
    assert one == pytest.approx(0.99 - (99 * 0.95 + 0.7) / 100)
