"""Calibration counted by hand, and as its papers define it."""

import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadData, BadOption

MM = (1.0, 1.0)
ALL = "margin_mm=inf"


def ece(probability, truth, words="", spacing=MM):
    name = f"ece:{words}" if words else "ece"
    return build("metrics", name)(np.array(probability), np.array(truth, bool), spacing)


def test_of_four_voxels_by_hand():
    """Claims .9 .9 .6 .6 for the more probable answer; right, wrong, right, wrong."""
    probability, truth = [[0.9, 0.1, 0.6, 0.4]], [[1, 1, 1, 1]]
    assert ece(probability, truth) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    # Of the region alone: .9 .1 .6 .4, of which all came true.
    assert ece(probability, truth, "classwise=true") == pytest.approx((0.1 + 0.9 + 0.4 + 0.6) / 4)
    # One bin: mean claim .75, half came true.
    assert ece(probability, truth, "bins=1") == pytest.approx(0.25)


def test_adaptive_bins_hold_as_many_voxels_each_whatever_their_order():
    """Two bins of three: .5 .5 .6 and .6 .9 .9; the voxels that claim .6 are shared out."""
    claimed = np.array([[0.5, 0.5, 0.6, 0.6, 0.9, 0.9]])
    truth = np.array([[1, 0, 1, 0, 1, 1]])
    expected = (abs(1.6 - 1.5) / 3 + abs(2.4 - 2.5) / 3) / 2
    for order in (slice(None), slice(None, None, -1), [0, 2, 1, 4, 3, 5]):
        found = ece(claimed[:, order], truth[:, order], "adaptive=true,bins=2")
        assert found == pytest.approx(expected)


def test_calibrated_probabilities_have_none_and_confident_ones_have():
    generator = np.random.default_rng(0)
    probability = generator.random((400, 400))
    truth = generator.random((400, 400)) < probability
    for words in ("", "adaptive=true", "classwise=true"):
        assert ece(probability, truth, words) < 0.01
        assert ece(np.round(probability), truth, words) > 0.2


def test_far_background_does_not_hide_what_is_wrong():
    probability, truth = np.zeros((100, 100)), np.zeros((100, 100), bool)
    truth[50:60, 50:60] = True
    assert ece(probability, truth) == pytest.approx(100 / 30**2)
    assert ece(probability, truth, ALL) == pytest.approx(100 / 100**2)
    assert ece(probability, truth, "margin_mm=0") == 1
    assert ece(probability, truth, spacing=(2.0, 10.0)) == pytest.approx(100 / (20 * 12))
    probability[5, 5] = 0.5  # what is probable counts as much as what is true
    box = 55 * 55  # from there to the far corner of the truth; 0.5 came out wrong
    assert ece(probability, truth, "margin_mm=0") == pytest.approx((100 + 0.5) / box)


def test_empty_truth_and_prediction_count_all_voxels():
    assert ece(np.full((4, 4), 0.25), np.zeros((4, 4))) == pytest.approx(0.25)


def test_voxels_without_a_probability_do_not_count():
    probability, truth = np.array([[0.9, 0.9, np.nan]]), np.array([[1, 0, 1]])
    assert ece(probability, truth) == pytest.approx(0.4)
    assert np.isnan(ece(np.full((2, 2), np.nan), np.zeros((2, 2))))


def test_what_is_no_probability_is_refused():
    with pytest.raises(BadData, match="0 to 1"):
        ece([[0.0, 1.5]], [[1, 1]])
    with pytest.raises(BadData, match="give floats on one grid"):
        ece(np.ones((1, 2), np.uint8), [[1, 1]])
    with pytest.raises(BadData, match="give floats on one grid"):
        ece(np.ones((1, 3)), [[1, 1]])
    with pytest.raises(BadOption, match="bins"):
        build("metrics", "ece:bins=0")
    with pytest.raises(BadOption, match="margin_mm"):
        build("metrics", "ece:margin_mm=-1")
