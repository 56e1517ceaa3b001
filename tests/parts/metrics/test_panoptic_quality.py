import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption


def test_quality_is_that_of_segmentation_times_that_of_recognition():
    truth, prediction = np.zeros((2, 20, 20), bool)
    truth[2:6, 2:6] = truth[12:16, 2:6] = True
    prediction[2:6, 2:5] = prediction[12:16, 12:16] = True
    # One match of IoU 12 / 16, one missed, one invented.
    value = build("metrics", "panoptic_quality")(prediction, truth, (1, 1))
    assert value == pytest.approx(0.75 * (1 / (1 + 0.5 + 0.5)))


def test_half_is_no_match_and_less_than_half_cannot_be_asked_for():
    truth, prediction = np.zeros((2, 8, 8), bool)
    truth[:4], prediction[:2] = True, True
    assert build("metrics", "panoptic_quality")(prediction, truth, (1, 1)) == 0
    with pytest.raises(BadOption, match=r"0\.5"):
        build("metrics", "panoptic_quality:iou=0.4")
