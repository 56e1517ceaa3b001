import math

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption


def world():
    """Lesions of 1, 8 and 64 voxels of 0.001 ml; the smallest is missed, the largest touched."""
    truth, prediction = np.zeros((2, 20, 20, 20), bool)
    truth[1, 1, 1] = truth[5:7, 5:7, 5:7] = truth[12:16, 12:16, 12:16] = True
    prediction[5:7, 5:7, 5:7] = prediction[15:18, 15:18, 15:18] = True
    return prediction, truth


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ("", 2 / 3),
        (":to_ml=0.008", 0.0),
        (":from_ml=0.008,to_ml=0.01", 1.0),
        (":from_ml=0.01", 1.0),
    ],
)
def test_a_lesion_counts_by_its_size(options, value):
    assert build("metrics", f"lesion_sensitivity{options}")(*world(), (1, 1, 1)) == value


def test_no_lesion_of_the_size_is_nothing_to_find():
    metric = build("metrics", "lesion_sensitivity:from_ml=1")
    prediction, truth = world()
    assert math.isnan(metric(prediction, truth, (1, 1, 1)))
    assert math.isnan(metric.limit(truth, (1, 1, 1)))
    with pytest.raises(BadOption, match="go up"):
        build("metrics", "lesion_sensitivity:from_ml=2,to_ml=1")


def test_with_an_iou_a_touch_is_not_enough():
    truth = np.zeros((10, 10), bool)
    truth[1:4, 1:4] = True
    huge = np.ones_like(truth)
    for iou, found, false in ((0.0, 1, 0), (0.09, 1, 0), (0.1, 0, 1)):
        assert build("metrics", f"lesion_sensitivity:iou={iou}")(huge, truth, (1, 1)) == found
        assert build("metrics", f"false_positives:iou={iou}")(huge, truth, (1, 1)) == false
