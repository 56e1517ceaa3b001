"""Several raters: by hand, and on nodules that four radiologists drew."""

import numpy as np
import pytest

from oncoseg.blocks.energy import ged
from oncoseg.errors import BadData
from oncoseg.evaluate.raters import agreement, consensus, nearness


def masks(*lengths):
    """Masks of 1 x 10 pixels, so many from the left."""
    return np.array([[np.arange(10) < length] for length in lengths])


def test_agreement_by_hand():
    found = agreement(masks(4, 4, 8))
    assert found.raters == 3
    assert found.dice == pytest.approx((1 + 2 * 8 / 12) / 3)
    assert found.lowest == pytest.approx(8 / 12)
    # The consensus of 4 and 8 is 8 (half is enough), that of 4 and 4 is 4.
    assert found.left_out == pytest.approx((8 / 12 + 8 / 12 + 8 / 12) / 3)
    assert found.spread == pytest.approx(4 * 0.5 / 9)
    assert found.consensus_ged == pytest.approx(2 * 0.5 / 3 - 4 * 0.5 / 9)
    assert found.volume_ratio == 2


def test_raters_who_agree_and_raters_who_saw_nothing():
    whole = agreement(masks(5, 5, 5, 5))
    assert (whole.dice, whole.lowest, whole.left_out) == (1, 1, 1)
    assert (whole.spread, whole.consensus_ged, whole.volume_ratio) == (0, 0, 1)
    assert agreement(masks(0, 0)).dice == agreement(masks(0, 0)).volume_ratio == 1
    unseen = agreement(masks(0, 5))
    assert (unseen.dice, unseen.volume_ratio) == (0, float("inf"))


def test_samples_that_spread_as_raters_do_are_nearest():
    raters = masks(4, 4, 8)
    same, middle = nearness(raters, raters), nearness(masks(4), raters)
    assert same.ged == pytest.approx(0)
    assert same.best == same.consensus == 1
    assert middle.ged == pytest.approx(agreement(raters).consensus_ged) == ged(masks(4), raters)
    assert middle.best == pytest.approx((1 + 1 + 8 / 12) / 3)
    assert middle.consensus == 1


def test_half_of_the_raters_are_a_consensus():
    assert consensus(masks(2, 4, 6, 8)).sum() == 6
    assert consensus(masks(2, 4, 6)).sum() == 4


def test_what_are_no_masks_of_raters_is_refused():
    with pytest.raises(BadData, match="nobody to agree with"):
        agreement(masks(3))
    with pytest.raises(BadData, match="give booleans"):
        agreement(masks(3, 4).astype(np.uint8))
    with pytest.raises(BadData, match="give booleans"):
        agreement(masks(3, 4)[0])


def test_radiologists_are_apart_on_real_nodules(data):
    path = sorted((data / "lidc_multirater_masks").glob("*.npz"))[0]
    with np.load(path) as held:
        found = agreement(held["masks"] > 0)
    assert found.raters == 4
    assert 0.3 < found.lowest <= found.dice < 1
    assert found.consensus_ged > 0
