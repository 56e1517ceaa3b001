"""What every registered query must do: boxes that fit, overlap nothing, as many as asked."""

import copy
from itertools import combinations

import numpy as np
import pytest

from oncoseg import Grid, Prediction, registry
from oncoseg.blocks.boxes import rooms
from oncoseg.case import Box
from oncoseg.parts import Wanted
from worlds import classes_task, regions_task

TASKS = [regions_task(2, 16), regions_task(3, 16), classes_task(2, 16), classes_task(3, 16)]
NAMES = [f"{'classes' if task.exclusive else 'regions'}-{task.dims}d" for task in TASKS]
every = pytest.mark.parametrize("name", registry.names("queries"))
tasks = pytest.mark.parametrize("task", TASKS, ids=NAMES)
SHAPES = {"a": (20, 18, 11), "b": (6, 16, 25), "c": (15, 15, 15)}


def pool(task, seed=0):
    """Three cases, one smaller than a box along one axis, with nothing sure."""
    rng = np.random.default_rng(seed)
    found = []
    for case, shape in SHAPES.items():
        logits = rng.normal(0, 2, (task.outputs, *shape[: task.dims])).astype(np.float32)
        probability = task.probabilities(logits).astype(np.float16)
        grid = Grid(logits.shape[1:], np.eye(task.dims + 1))
        found.append(
            Prediction(case, task, grid, task.decode(logits), probability, task.modalities)
        )
    return found


def wanted(task, count=4, **changes):
    return Wanted(count, (7, 5, 4)[: task.dims], **changes)


def check(boxes, taken, cases, size):
    shapes = {case.case: case.grid.shape for case in cases}
    for box in boxes:
        sides = [stop - start for start, stop in zip(box.start, box.stop)]
        assert sides == [min(pair) for pair in zip(size, shapes[box.case])]
        assert all(start >= 0 for start in box.start)
        assert all(stop <= side for stop, side in zip(box.stop, shapes[box.case]))
        assert all(type(place) is int for place in (*box.start, *box.stop))
    for one, other in combinations([*boxes, *taken], 2):
        assert not one.overlaps(other)


@every
@tasks
@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_as_many_boxes_as_asked_that_fit_and_do_not_overlap(name, task, done):
    query, cases = registry.build("queries", name), pool(task)
    before = copy.deepcopy(cases)
    taken = []
    for count in (1, 4, 3):
        found = query.pick(cases, wanted(task, count, taken=tuple(taken), done=done))
        assert len(found) == count
        check(found, taken, cases, wanted(task).size)
        taken += found
    for one, other in zip(cases, before):
        assert np.array_equal(one.label, other.label)
        assert np.array_equal(one.probability, other.probability)


@every
@tasks
def test_all_there_are_if_more_are_asked_for(name, task):
    cases, size = pool(task), wanted(task).size
    found = registry.build("queries", name).pick(cases, wanted(task, 10_000))
    check(found, [], cases, size)
    left = rooms({case.case: case.grid.shape for case in cases}, size, found)
    assert not any(room.free.any() for room in left.values())


@every
def test_the_seed_decides(name):
    query, cases = registry.build("queries", name), pool(TASKS[1])
    first = query.pick(cases, wanted(TASKS[1], seed=1))
    assert first == query.pick(cases, wanted(TASKS[1], seed=1))


@every
@tasks
def test_certain_and_empty_predictions_are_no_trouble(name, task):
    sure = [case.but(label=0 * case.label, probability=0 * case.probability) for case in pool(task)]
    assert len(registry.build("queries", name).pick(sure, wanted(task))) == 4
    assert registry.build("queries", name).pick([], wanted(task)) == []
    assert registry.build("queries", name).pick(sure, wanted(task, 0)) == []


@every
def test_boxes_taken_from_cases_that_are_not_in_the_pool_matter_not(name):
    gone = Box("gone", (0, 0, 0), (99, 99, 99))
    found = registry.build("queries", name).pick(pool(TASKS[1]), wanted(TASKS[1], taken=(gone,)))
    assert len(found) == 4
