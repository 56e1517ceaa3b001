"""Voxels counted all at once are those of the masks one by one, and take no memory a region."""

import tracemalloc

import numpy as np
import pytest

from oncoseg import Grid, Task
from oncoseg.blocks import counts
from oncoseg.blocks.sizes import sizes, volumes
from oncoseg.evaluate import evaluate
from worlds import classes_task, regions_task


@pytest.mark.parametrize("task", [classes_task(3, 16, classes=3), regions_task(3, 16)])
def test_the_dice_and_the_sizes_of_all_regions_are_those_of_their_masks(task, monkeypatch):
    monkeypatch.setattr(counts, "PIECE", 1000)
    rng = np.random.default_rng(0)
    values = [0, *task.labels.values()]
    label, truth = rng.choice(values, (2, 9, 14, 11)).astype(np.uint8)
    found = counts.dice(task, label, truth.astype(np.int16))
    rows = evaluate(label, truth, regions=task, metrics=("dice",)).means
    assert found == pytest.approx({name: row["dice"] for name, row in rows.items()})
    grid = Grid(label.shape, np.diag([2.0, 3, 4, 1]))
    assert volumes(task, label, grid) == sizes(task.masks(label), grid)
    nothing = np.zeros_like(label)
    assert set(counts.dice(task, nothing, nothing).values()) == {1.0}
    assert set(counts.dice(task, nothing, label).values()) == {0.0}


def test_of_a_hundred_organs_no_mask_is_made():
    names = [f"organ {number}" for number in range(100)]
    task = Task("body", ("ct",), dict(zip(names, range(1, 101))), {name: (name,) for name in names})
    label = np.zeros((300, 200, 200), np.uint8)
    tracemalloc.start()
    counts.dice(task, label, label)
    volumes(task, label, Grid(label.shape, np.eye(4)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * label.size  # masks would take 200 times
