"""The true Dice is inside as often as promised; nothing is promised where nothing can be."""

import math

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.errors import BadOption
from worlds import classes_task

TASK = classes_task(3, 16, classes=1)
SHAPE = (10, 10, 10)


def case(rng, sure=1.0):
    """A mask with some wrong voxels, whose probabilities say how many only roughly."""
    truth = np.zeros(SHAPE, np.uint8)
    truth[2 : rng.integers(5, 9), 2:8, 2:8] = 1
    wrong = rng.uniform(0, 0.4)
    label = np.where(rng.random(SHAPE) < wrong * (truth == 1), 0, truth).astype(np.uint8)
    claimed = np.clip(1 - sure * wrong * rng.uniform(0.2, 1.2), 0, 1)
    probability = np.where(label, claimed, 0)[None].astype(np.float16)
    grid = Grid(SHAPE, np.diag([5.0, 5, 5, 1]))
    return Prediction("case", TASK, grid, label, probability, ("image",)), truth


def dice(prediction, truth):
    return 2 * np.sum(prediction.label & truth) / (prediction.label.sum() + truth.sum())


def fitted(rng, count, level=0.8, **options):
    step = build("posthoc", f"predicted_dice:level={level}")
    step.fit([step.lesson(*case(rng, **options)) for _ in range(count)])
    return step


@pytest.mark.parametrize(("count", "level"), [(19, 0.9), (19, 0.8), (39, 0.9)])
def test_the_true_dice_is_covered_as_often_as_promised(count, level):
    """Over fresh held-out cases and a fresh case each; (count + 1) of either side is whole."""
    rng = np.random.default_rng(0)
    draws, held = 400, 0
    for _ in range(draws):
        prediction, truth = case(rng)
        found = fitted(rng, count, level)(prediction).predicted_dice["class_1"]
        held += found["low"] - 1e-4 <= dice(prediction, truth) <= found["high"] + 1e-4
    assert abs(held / draws - level) < 3 * math.sqrt(level * (1 - level) / draws)


def test_probabilities_that_are_too_sure_are_corrected():
    rng = np.random.default_rng(1)
    step = fitted(rng, 60, sure=0.3)
    pairs = [case(rng, sure=0.3) for _ in range(40)]
    true = np.array([dice(*pair) for pair in pairs])
    found = [step(one).predicted_dice["class_1"] for one, _ in pairs]
    claimed = [build("findings", "quality")(one, None)["rows"][2]["value"] for one, _ in pairs]
    said = np.array([one["value"] for one in found])
    assert np.abs(said - true).mean() < 0.6 * np.abs(claimed - true).mean()
    assert np.corrcoef(said, true)[0, 1] > 0.5
    assert all(one["low"] <= one["value"] <= one["high"] for one in found)


def test_surer_cases_have_narrower_intervals():
    rng = np.random.default_rng(2)
    step, (prediction, _) = fitted(rng, 40), case(rng)

    def width(confidence):
        found = step(prediction.but(confidence={"class_1": confidence})).predicted_dice["class_1"]
        return found["high"] - found["low"]

    assert width(0.98) < width(0.9) < width(0.7)


def test_an_interval_worked_out_by_hand():
    step = build("posthoc", "predicted_dice:level=0.5,offset=0.1")
    prediction, truth = case(np.random.default_rng(3))
    held = [prediction.but(confidence={"class_1": value}) for value in (0.9, 0.8, 0.7)]
    step.fit([step.lesson(one, truth) for one in held])
    error = 1 - dice(prediction, truth) + 0.1
    ends = [1.1 - error / (1.1 - value) * 0.6 for value in (0.7, 0.8, 0.9)]
    high, value, low = (round(min(1, max(0, end)), 4) for end in ends)
    found = step(prediction.but(confidence={"class_1": 0.5}))
    assert found.predicted_dice == {
        "class_1": {"high": high, "value": value, "low": low, "level": 0.5}
    }
    assert "in 50% of cases" in found.notes[0]


@pytest.mark.parametrize(("count", "level"), [(30, 0.9), (19, 0.9), (18, 0.8), (9, 0.8)])
def test_a_level_that_is_not_given_is_what_the_cases_allow(count, level):
    rng = np.random.default_rng(5)
    step, (prediction, _) = fitted(rng, count, 0), case(rng)
    assert step(prediction).predicted_dice["class_1"]["level"] == level
    assert f"in {level:.0%} of cases" in step(prediction).notes[0]
    (told,) = fitted(rng, 8, 0)(prediction).notes
    assert told == "No predicted Dice: 80% takes 9 held-out cases, not 8."


def test_what_models_of_before_learned_keeps_its_level():
    rng = np.random.default_rng(6)
    for level in (0.0, 0.8):
        step, (prediction, _) = fitted(rng, 20, level), case(rng)
        del step.state["level"]
        assert step(prediction).predicted_dice["class_1"]["level"] == (level or 0.9)


@pytest.mark.parametrize(
    ("count", "changes", "told"),
    [
        (18, {}, "No predicted Dice: 90% takes 19 held-out cases, not 18."),
        (19, {"missing": ("t2",)}, "No predicted Dice: no held-out case was without t2."),
        (19, {"samples": 2}, "No predicted Dice: held-out cases were predicted without samples."),
    ],
)
def test_nothing_is_promised_of_few_cases_or_unlike_ones(count, changes, told):
    rng = np.random.default_rng(4)
    step, (prediction, _) = fitted(rng, count, 0.9), case(rng)
    found = step(prediction.but(**changes))
    assert not found.predicted_dice
    assert found.notes == (told,)


@pytest.mark.parametrize("option", ["level=1", "level=-0.1", "offset=0"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(BadOption, match="predicted_dice takes 0 <= level < 1 and offset > 0"):
        build("posthoc", f"predicted_dice:{option}")
