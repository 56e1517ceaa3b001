"""Volume intervals cover the truth as often as they say, and are not given where they cannot."""

import math

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.errors import BadOption
from worlds import classes_task

TASK = classes_task(3, 16, classes=1)
SIDE = 12


def case(rng, sigma=0.4):
    """A truth of some voxels and a prediction whose volume is wrong by a log-normal factor."""
    true = int(rng.integers(20, 400))
    said = int(np.clip(round(true * math.exp(rng.normal(0.1, sigma))), 0, SIDE**3))
    label, truth = np.zeros((2, SIDE**3), np.uint8)
    label[:said], truth[:true] = 1, 1
    shape = (SIDE,) * 3
    prediction = Prediction(
        "case",
        TASK,
        Grid(shape, np.diag([5.0, 5, 5, 1])),
        label.reshape(shape),
        np.zeros((1, *shape), np.float16),
        ("image",),
    )
    return prediction, truth.reshape(shape)


def fitted(rng, count, level):
    step = build("posthoc", f"conformal:level={level}")
    step.fit([step.lesson(*case(rng)) for _ in range(count)])
    return step


def held(step, rng):
    prediction, truth = case(rng)
    low, high = step(prediction).intervals["class_1"]
    return low <= np.count_nonzero(truth) * 0.125 <= high


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (19, 0.8)])
def test_the_truth_is_covered_as_often_as_promised(count, level):
    """Over fresh held-out cases and a fresh case each: (count + 1) level is whole, so exactly."""
    rng = np.random.default_rng(0)
    draws = 1200
    share = np.mean([held(fitted(rng, count, level), rng) for _ in range(draws)])
    assert abs(share - level) < 3 * math.sqrt(level * (1 - level) / draws)


def test_intervals_widen_with_the_level_and_hold_the_volume():
    rng = np.random.default_rng(1)
    pairs = [case(rng) for _ in range(60)]
    prediction, _ = case(rng)
    ends = []
    for level in (0.5, 0.7, 0.9, 0.95):
        step = build("posthoc", f"conformal:level={level}")
        step.fit([step.lesson(*pair) for pair in pairs])
        ends.append(step(prediction).intervals["class_1"])
    volume = np.count_nonzero(prediction.label) * 0.125
    lows, highs = zip(*ends)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert len(set(highs)) > 1
    assert all(0 <= low <= volume <= high for low, high in ends)


def test_the_interval_is_the_one_worked_out_by_hand():
    step = build("posthoc", "conformal:level=0.5,offset=1.0")
    rng = np.random.default_rng(2)
    pairs = [case(rng) for _ in range(3)]
    step.fit([step.lesson(*pair) for pair in pairs])
    counts = [(np.count_nonzero(p.label) * 0.125, np.count_nonzero(t) * 0.125) for p, t in pairs]
    middle = sorted(abs(math.log((said + 1) / (true + 1))) for said, true in counts)[1]
    said = counts[0][0]
    wanted = ((said + 1) * math.exp(-middle) - 1, (said + 1) * math.exp(middle) - 1)
    found = step(pairs[0][0])
    assert found.intervals["class_1"] == pytest.approx(wanted)
    assert found.level == 0.5
    assert "in 50% of cases" in found.notes[0]


def test_too_few_cases_give_no_interval_and_a_note():
    rng = np.random.default_rng(3)
    prediction, _ = case(rng)
    found = fitted(rng, 8, 0.9)(prediction)
    assert not found.intervals
    assert found.notes == ("No interval of a volume: 90% takes 9 held-out cases, not 8.",)
    assert fitted(rng, 9, 0.9)(prediction).intervals


def test_nothing_is_promised_of_cases_unlike_the_held_out_ones():
    rng = np.random.default_rng(4)
    prediction, _ = case(rng)
    found = fitted(rng, 9, 0.9)(prediction.but(missing=("flair",)))
    assert not found.intervals
    assert found.notes == ("No interval of a volume: no held-out case was without flair.",)


def test_an_empty_prediction_reaches_up_to_what_was_missed():
    rng = np.random.default_rng(5)
    prediction, _ = case(rng)
    low, high = fitted(rng, 20, 0.9)(prediction.but(label=0 * prediction.label)).intervals[
        "class_1"
    ]
    assert low == 0
    assert high > 0


@pytest.mark.parametrize("option", ["level=1", "level=0", "offset=0"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(BadOption, match="conformal takes 0 < level < 1 and offset > 0"):
        build("posthoc", f"conformal:{option}")
