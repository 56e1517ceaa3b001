"""The score of the Data Science Bowl, by hand."""

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption

MM = (1.0, 1.0)


def rows(*lengths):
    """A map with an instance a row, of these lengths from the left."""
    made = np.zeros((len(lengths), 20), np.uint16)
    for row, length in enumerate(lengths):
        made[row, :length] = row + 1
    return made


def average_precision(prediction, truth, words=""):
    return build("metrics", f"average_precision{words}")(prediction, truth, MM)


def test_hits_at_each_threshold_by_hand():
    """Overlaps of 1, 0.8 and 0.4: two hits below 0.8, from there on one, of 3 on both sides."""
    found = average_precision(rows(20, 16, 8), rows(20, 20, 20))
    assert found == pytest.approx((6 * 2 / 4 + 4 * 1 / 5) / 10)


def test_an_overlap_right_at_a_threshold_is_no_hit():
    for twentieth in range(10, 20):
        exact = average_precision(rows(twentieth), rows(20))
        assert exact == pytest.approx((twentieth - 10) / 10)
    assert average_precision(rows(10), rows(20), ":iou=0.5") == 0
    assert average_precision(rows(11), rows(20), ":iou=0.5") == 1


def test_an_instance_may_lie_in_two_places():
    truth = np.array([[1, 0, 1, 0, 2]])
    assert average_precision(truth, truth) == 1
    assert average_precision(np.array([[1, 0, 3, 0, 2]]), truth) == 1 / 4  # one of 3 and 2


def test_thresholds_below_one_half_are_refused():
    with pytest.raises(BadOption, match=r"0\.5 to below 1, not 0\.3"):
        build("metrics", "average_precision:iou=0.3")
