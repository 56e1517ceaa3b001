"""FROC: every number from its definition, on cases counted by hand and on random ones."""

import numpy as np
import pytest
from scipy import ndimage

from oncoseg.blocks.froc import RATES, Found, Froc, checked, found, kept
from oncoseg.errors import BadData, BadOption


def case(lesions, false):
    return Found(np.array(lesions, float), np.ones(len(lesions), int), np.array(false, float))


HAND = [case([0.9, 0.6, 0], [0.8, 0.55]), case([0.7], [])]


def random_world(seed, shape=(24, 24, 12)):
    """A probability with many candidates, and a truth of some of them and of others."""
    rng = np.random.default_rng(seed)
    smooth, other = (ndimage.gaussian_filter(rng.normal(size=shape), 1.2) for _ in range(2))
    probability = (1 / (1 + np.exp(2 - 14 * smooth))).astype(np.float16)
    truth = smooth + 0.7 * other > 0.17
    return probability, truth


def test_the_curve_counted_by_hand():
    """Four lesions and two false candidates in two cases."""
    curve = Froc(HAND, ["a", "b"], 0.5, "lesion")
    assert curve.thresholds == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.55])
    assert curve.sensitivity == pytest.approx([0.25, 0.25, 0.5, 0.75, 0.75])
    assert curve.false_positives == pytest.approx([0, 0.5, 0.5, 0.5, 1])
    assert curve.at([0, 0.25, 0.5, 0.75, 1, 8]) == pytest.approx([0.25, 0.25, *[0.75] * 4])
    assert curve.score() == pytest.approx(np.mean([0.25, 0.25, *[0.75] * 5]))


def test_a_lesion_counts_once_and_what_overlaps_one_is_never_false():
    probability = np.zeros((1, 20))
    probability[0, 1:4], probability[0, 5:8], probability[0, 10], probability[0, 15] = (
        0.6,
        0.8,
        0.9,
        1,
    )
    truth = np.zeros((1, 20), bool)
    truth[0, 2:7], truth[0, 14:16], truth[0, 18] = True, True, True
    one = found(probability, truth, 0.5, 0)
    assert one.lesions == pytest.approx([0.8, 1, 0], abs=1e-3)
    assert one.sizes.tolist() == [5, 2, 1]
    assert one.false == pytest.approx([0.9], abs=1e-3)
    probability[0, 14:16] = np.nan  # ignored there: no lesion, no candidate
    assert found(probability, truth, 0.5, 0).sizes.tolist() == [5, 1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("floor", [0.3, 0.5])
def test_every_point_is_what_components_say(seed, floor):
    """Drawn anew at each threshold, candidates found and invented are those of the curve."""
    probability, truth = random_world(seed)
    curve = Froc([found(probability, truth, floor, 0)], ["a"], floor, "lesion")
    full = np.ones((3, 3, 3))
    lesions, count = ndimage.label(truth, full)
    for threshold, sensitivity, false in zip(
        curve.thresholds, curve.sensitivity, curve.false_positives
    ):
        mask, stay, of = kept(probability, floor, threshold)
        pieces, number = ndimage.label(mask, full)
        assert number == stay <= of
        hit = len(np.unique(lesions[mask & truth]))
        invented = number - len(np.unique(pieces[mask & truth]))
        assert (hit / count, invented) == pytest.approx((sensitivity, false))


def test_the_threshold_that_is_chosen_does_what_was_asked_and_no_neighbour_does_better():
    cases = [found(*random_world(seed), 0.5, 0.1) for seed in range(6)]
    curve = Froc(cases, list("aabbcd"), 0.5, "lesion")
    for asked in (0.5, 2, 7):
        point = curve.point(curve.chosen(false_positives=asked))
        allowed = curve.sensitivity[curve.false_positives <= asked]
        assert point.false_positives <= asked
        assert point.sensitivity == pytest.approx(allowed.max())
        same = curve.false_positives[curve.sensitivity >= allowed.max() - 1e-9]
        assert point.false_positives == pytest.approx(same.min())
        assert point.sensitivity_low <= point.sensitivity <= point.sensitivity_high
        assert point.false_positives_low <= point.false_positives <= point.false_positives_high
    for asked in (0.2, 0.5):
        point = curve.point(curve.chosen(sensitivity=asked))
        enough = curve.sensitivity >= asked
        assert point.sensitivity >= asked
        assert point.false_positives == pytest.approx(curve.false_positives[enough].min())


def test_a_threshold_lies_between_scores_so_that_rounding_does_not_matter():
    curve = Froc(HAND, ["a", "b"], 0.5, "lesion")
    assert curve.chosen(sensitivity=0.5) == pytest.approx(0.65)
    assert curve.chosen(sensitivity=0.75) == pytest.approx(0.575)
    assert Froc([case([0.8], [])], ["a"], 0.5, "x").chosen(sensitivity=1) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"sensitivity": 0.9}, "no threshold finds 0.9 of the lesions; the most .* is 0.750"),
        ({"false_positives": 0.2}, "any lesion with at most 0.2 false positives a case"),
    ],
)
def test_what_no_threshold_attains_is_refused(asked, sentence):
    cases = [case([0.7, 0.6, 0.6, 0], [0.9, 0.8, 0.55])]
    with pytest.raises(BadData, match=sentence):
        Froc(cases, ["a"], 0.5, "lesion").chosen(**asked)
    with pytest.raises(BadData, match="lesion: no threshold"):
        Froc([case([0, 0], [])], ["a"], 0.5, "lesion").chosen(**asked)


def test_without_lesions_there_is_no_curve_and_floors_are_probabilities():
    with pytest.raises(BadData, match="no case has a lesion"):
        Froc([case([], [0.9])], ["a"], 0.5, "lesion")
    for floor in (0, 1, -0.5):
        with pytest.raises(BadOption, match="above 0 and below 1"):
            checked(floor, 0.1)
    with pytest.raises(BadOption, match="'iou' takes 0 to 1"):
        checked(0.5, 1.1)


def test_who_takes_everything_finds_nothing_unless_any_overlap_is_enough():
    probability, truth = np.full((20, 20), 0.9), np.zeros((20, 20), bool)
    truth[2:5, 2:5], truth[12:18, 12:18] = True, True  # an IoU of 0.02 and of 0.09
    apart = found(probability, truth, 0.5, 0.1)
    assert apart.lesions.tolist() == [0, 0]
    assert len(apart.false) == 1
    assert found(probability, truth, 0.5, 0.05).lesions == pytest.approx([0, 0.9], abs=1e-3)
    touching = found(probability, truth, 0.5, 0)
    assert touching.lesions == pytest.approx([0.9, 0.9], abs=1e-3)
    assert not touching.false.size


def test_the_bootstrap_draws_patients_with_all_their_cases():
    """With all cases of two patients, each sample is one of three curves."""
    cases = [case([0.9], []), case([0.9], []), case([0], [0.8]), case([0], [0.8])]
    drawn = Froc(cases, list("aabb"), 0.5, "x").bootstrap(RATES, samples=200)[:, -1]
    assert set(np.round(drawn, 6)) == {0, 0.5, 1}
    alone = Froc(cases, list("aaaa"), 0.5, "x")
    assert np.isnan(alone.bootstrap(RATES)).all()
    assert alone.point(0.5).as_dict()["sensitivity_low"] is None
    wide, narrow = (Froc(cases * 10, names, 0.5, "x") for names in (list("aabb") * 10, range(40)))
    ends = [one.point(0.5) for one in (wide, narrow)]
    spread = [one.sensitivity_high - one.sensitivity_low for one in ends]
    assert spread[0] > spread[1]
