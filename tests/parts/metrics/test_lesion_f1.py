import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption


def lesions(*corners, size=2):
    made = np.zeros((30, 30, 12), bool)
    for x, y, z in corners:
        made[x : x + size, y : y + size, z : z + size] = True
    return made


def test_lesions_count_once_whatever_their_size():
    truth = lesions((1, 1, 1), (1, 10, 1), (1, 20, 1)) | lesions((12, 4, 2), size=8)
    prediction = lesions((2, 2, 2), (1, 10, 1), (24, 24, 8))
    # found: 2 of 4 true; true: 2 of 3 predicted. F1 = 2 * 1/2 * 2/3 / (1/2 + 2/3) = 4/7
    assert build("metrics", "lesion_f1")(prediction, truth, (1, 1, 1)) == pytest.approx(4 / 7)


def test_a_match_may_need_an_overlap():
    truth = lesions((1, 1, 1), (20, 20, 1))
    prediction = lesions((2, 1, 1), (20, 20, 1))  # the first shares 4 of 12 voxels
    for iou, value in ((0, 1), (1 / 3, 1), (0.34, 1 / 2), (1, 1 / 2)):
        metric = build("metrics", "lesion_f1", iou=iou)
        assert metric(prediction, truth, (1, 1, 1)) == pytest.approx(value)


def test_one_blob_over_two_lesions_matches_both():
    truth = lesions((1, 1, 1), (1, 4, 1))
    prediction = truth.copy()
    prediction[1:3, 1:6, 1:3] = True
    assert build("metrics", "lesion_f1")(prediction, truth, (1, 1, 1)) == 1


@pytest.mark.parametrize(("connectivity", "corner", "edge"), [(6, 2, 2), (18, 2, 1), (26, 1, 1)])
def test_what_touches_is_one_lesion(connectivity, corner, edge):
    """Two parts that touch by a corner or an edge, of which one is found: 2/3 if they are two."""
    metric = build("metrics", f"lesion_f1:connectivity={connectivity}")
    for second, count in (((3, 3, 3), corner), ((3, 3, 1), edge)):
        truth = lesions((1, 1, 1), second)
        value = metric(lesions((1, 1, 1)), truth, (1, 1, 1))
        assert value == pytest.approx(1 if count == 1 else 2 / 3)


def test_in_two_dimensions_corners_touch_unless_by_edges_alone():
    truth = np.eye(4, dtype=bool)
    prediction = np.zeros_like(truth)
    prediction[0, 0] = True
    assert build("metrics", "lesion_f1")(prediction, truth, (1, 1)) == 1
    only = build("metrics", "lesion_f1:connectivity=6")(prediction, truth, (1, 1))
    assert only == pytest.approx(2 * 0.25 / 1.25)


@pytest.mark.parametrize("options", ["connectivity=8", "iou=1.1", "iou=-0.1"])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(BadOption):
        build("metrics", f"lesion_f1:{options}")
