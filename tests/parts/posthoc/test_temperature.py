"""Temperature scaling finds a known temperature, leaves labels alone, and calibrates."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.blocks.logits import logits_of
from worlds import classes_task, regions_task

SHAPE = (40, 40, 40)
TASKS = {"classes": classes_task(3, 16), "regions": regions_task(3, 16)}
both = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def simulated(task, hot, seed=0, spread=2.0):
    """A prediction `hot` times too sure, and a truth drawn from the calibrated probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (task.outputs, *SHAPE)).astype(np.float32)
    draw = rng.random(SHAPE)
    if task.exclusive:
        calm = task.probabilities(logits)
        edges = np.cumsum(np.concatenate([1 - calm.sum(0, keepdims=True), calm]), axis=0)
        truth = (draw > edges).sum(axis=0)
    else:  # one outer region decides: the same channel in all, so that labels are 0 and 4
        logits[:] = logits[:1]
        truth = np.where(draw < task.probabilities(logits)[0], 4, 0)
    sure = logits * hot
    return (
        Prediction(
            "case",
            task,
            Grid(SHAPE, np.eye(4)),
            task.decode(sure),
            task.probabilities(sure).astype(np.float16),
            ("image",),
        ),
        truth.astype(np.int16),
    )


def ece(prediction, truth, bins=15):
    """Expected calibration error over every region's own probability."""
    probability = prediction.probability.astype(float).ravel()
    true = np.stack(list(prediction.task.masks(truth).values())).ravel()
    place = np.minimum((probability * bins).astype(int), bins - 1)
    total = np.bincount(place, minlength=bins)
    gap = np.bincount(place, probability - true, minlength=bins)
    return float(np.abs(gap).sum() / total.sum())


@both
@pytest.mark.parametrize("hot", [0.5, 1.0, 2.0])
def test_a_known_temperature_is_found(task, hot):
    step = build("posthoc", "temperature")
    pairs = [simulated(task, hot, seed) for seed in range(3)]
    step.fit([step.lesson(*pair) for pair in pairs])
    assert step.state["temperature"] == pytest.approx(hot, rel=0.03)
    assert step.state["nll"][1] <= step.state["nll"][0]


@both
def test_an_overconfident_model_becomes_calibrated_and_a_calibrated_one_stays(task):
    step = build("posthoc", "temperature")
    step.fit([step.lesson(*simulated(task, 3.0, seed=1))])
    prediction, truth = simulated(task, 3.0, seed=2)
    before, after = ece(prediction, truth), ece(step(prediction), truth)
    assert before > 0.05
    assert after < 0.01
    step.fit([step.lesson(*simulated(task, 1.0, seed=1))])
    prediction, truth = simulated(task, 1.0, seed=2)
    assert ece(step(prediction), truth) < 0.01


@both
@pytest.mark.parametrize("temperature", [0.3, 1.7, 9.0])
def test_no_temperature_changes_a_label(task, temperature):
    """Neither the largest logit nor the sign of a sum of logits depends on a positive factor."""
    logits = np.random.default_rng(0).normal(0, 4, (task.outputs, *SHAPE)).astype(np.float32)
    assert np.array_equal(task.decode(logits), task.decode(logits / temperature))
    prediction, _ = simulated(task, 2.0)
    step = build("posthoc", "temperature")
    step.state = {"temperature": temperature}
    scaled = step(prediction)
    assert np.array_equal(scaled.label, prediction.label)
    again = task.decode(logits_of(task, scaled.probability))
    assert np.mean(again == task.decode(logits_of(task, prediction.probability))) > 0.998


@both
def test_certain_voxels_stay_finite_and_the_fit_is_the_same_twice(task):
    prediction, truth = simulated(task, 50.0)
    assert (prediction.probability == 1).any()
    assert (prediction.probability == 0).any()
    assert np.isfinite(logits_of(task, prediction.probability)).all()
    states = []
    for _ in range(2):
        step = build("posthoc", "temperature:voxels=5000")
        step.fit([step.lesson(prediction, truth)])
        states.append(step.state)
    assert states[0] == states[1]
    assert states[0]["temperature"] > 2
    scaled = step(prediction).probability
    assert scaled.dtype == np.float16
    assert np.isfinite(scaled).all()


def test_nothing_learned_changes_nothing():
    step = build("posthoc", "temperature")
    prediction, _ = simulated(TASKS["classes"], 2.0)
    assert step(prediction) is prediction
