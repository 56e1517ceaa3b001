"""What every registered post-hoc step must do: to be taught, to travel, to change nothing given."""

import copy
import json

import numpy as np
import pytest

from oncoseg import Grid, Prediction, registry
from oncoseg.model import open_model, save_model
from oncoseg.prepare.plan import Normalisation, Plan
from worlds import classes_task, regions_task

TASKS = [regions_task(2, 16), regions_task(3, 16), classes_task(2, 16), classes_task(3, 16)]
NAMES = [f"{'classes' if task.exclusive else 'regions'}-{task.dims}d" for task in TASKS]
every = pytest.mark.parametrize("name", registry.names("posthoc"))
tasks = pytest.mark.parametrize("task", TASKS, ids=NAMES)


def predict(task, seed, *, empty=False):
    """A prediction of noisy blocks, one in another, and the truth they were made from."""
    rng = np.random.default_rng(seed)
    shape = (14, 16, 12)[: task.dims]
    truth = np.zeros(shape, np.uint8)
    for depth, value in enumerate(task.labels.values()):
        truth[(slice(2 + depth, 10 - depth),) * task.dims] = value
    member = np.moveaxis(task.membership.T[truth], -1, 0)
    logits = (6 * member - 3 + rng.normal(0, 2, member.shape)).astype(np.float32)
    if empty:
        logits[:] = -20
        logits[: int(task.exclusive)] = 20
    return Prediction(
        case=f"case {seed}",
        task=task,
        grid=Grid(shape, np.diag([*[2.0] * task.dims, 1])),
        label=task.decode(logits),
        probability=task.probabilities(logits).astype(np.float16),
        used=task.modalities,
        notes=("said before",),
    ), truth.astype(np.int16)


def taught(name, task):
    step = registry.build("posthoc", name)
    lessons = [step.lesson(*predict(task, seed)) for seed in range(10)]
    step.fit(json.loads(json.dumps(lessons, allow_nan=False)))  # as a training keeps them
    return step


def unchanged(one, other):
    return all(
        np.array_equal(getattr(one, key), getattr(other, key)) for key in ("label", "probability")
    ) and (one.notes, one.intervals, one.ratios, one.maps.keys()) == (
        other.notes,
        other.intervals,
        other.ratios,
        other.maps.keys(),
    )


@every
@tasks
@pytest.mark.parametrize("empty", [False, True])
def test_a_step_gives_a_prediction_of_the_same_case_and_leaves_what_it_was_given(name, task, empty):
    step = taught(name, task)
    prediction, _ = predict(task, 99, empty=empty)
    before = copy.deepcopy(prediction)
    found = step(prediction)
    assert unchanged(prediction, before)
    assert (found.case, found.task) == (prediction.case, task)
    assert found.grid.same_as(prediction.grid)
    assert found.label.shape == prediction.label.shape
    assert found.label.dtype == np.uint8
    assert set(np.unique(found.label)) <= {0, *task.labels.values()}
    assert found.probability.shape == prediction.probability.shape
    assert found.probability.dtype == np.float16
    assert np.isfinite(found.probability).all()
    assert found.probability.min() >= 0
    assert found.probability.max() <= 1
    assert found.notes[:1] == prediction.notes
    assert all(0 <= low <= high < np.inf for low, high in found.intervals.values())
    assert all(values.shape == prediction.label.shape for values in found.maps.values())


@every
@tasks
def test_what_was_learned_travels_as_json(name, task):
    step = taught(name, task)
    other = registry.build("posthoc", name)
    other.state = json.loads(json.dumps(step.state, allow_nan=False))
    prediction, _ = predict(task, 7)
    assert unchanged(step(prediction), other(prediction))


@every
def test_an_untaught_step_does_not_fail_and_the_same_cases_teach_the_same(name):
    prediction, _ = predict(TASKS[2], 3)
    registry.build("posthoc", name)(prediction)
    assert taught(name, TASKS[2]).state == taught(name, TASKS[2]).state


@every
@tasks
def test_what_a_step_does_not_say_it_changes_stays(name, task):
    step = taught(name, task)
    for seed in range(5):
        prediction, _ = predict(task, seed)
        found = step(prediction)
        changed = {
            key
            for key in ("label", "probability")
            if not np.array_equal(getattr(found, key), getattr(prediction, key))
        }
        assert changed <= set(step.changes)


def test_a_model_file_holds_every_step_and_what_it_learned(tmp_path):
    task = classes_task(2, 16)
    network = registry.build("networks", "unet:width=4,blocks=1", task)
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    steps = {name: taught(name, task) for name in registry.names("posthoc")}
    records = [{"posthoc": name, "state": step.state} for name, step in steps.items()]
    path = tmp_path / "m.onco"
    save_model(path, network, "unet:width=4,blocks=1", plan, {}, "licence", records)
    found = list(open_model(path).posthoc.values())
    assert [step.state for step in found] == [step.state for step in steps.values()]
    prediction, _ = predict(task, 5)
    for one, other in zip(found, steps.values()):
        assert unchanged(one(prediction), other(prediction))
