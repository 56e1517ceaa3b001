"""Entropy is averaged over boxes exactly, and the best boxes that do not overlap are picked."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.blocks.boxes import entropy, means
from oncoseg.parts import Wanted
from worlds import classes_task, regions_task


def predict(task, probability, case="a"):
    shape = probability.shape[1:]
    label = np.zeros(shape, np.uint8)
    return Prediction(case, task, Grid(shape, np.eye(len(shape) + 1)), label, probability, ())


@pytest.mark.parametrize("size", [(3, 4, 2), (1, 1, 1), (9, 8, 7)])
def test_the_mean_over_a_box_of_a_single_voxel_is_one_over_its_size(size):
    values = np.zeros((9, 8, 7))
    values[4, 5, 3] = 1
    found = means(values, size)
    assert found.shape == tuple(whole - side + 1 for whole, side in zip(values.shape, size))
    for start in np.ndindex(found.shape):
        inside = all(a <= b < a + side for a, b, side in zip(start, (4, 5, 3), size))
        assert found[start] == pytest.approx(inside / np.prod(size), abs=1e-15)


def test_means_are_those_of_every_box_counted_one_by_one():
    values = np.random.default_rng(0).random((7, 6))
    found = means(values, (3, 2))
    for x, y in np.ndindex(found.shape):
        assert found[x, y] == pytest.approx(values[x : x + 3, y : y + 2].mean())


def test_entropy_of_known_probabilities():
    two = predict(classes_task(2), np.array([[[0.5, 0, 1, 0.25]], [[0.25, 0, 0, 0.25]]]))
    half = 0.5 * np.log(2) + 2 * 0.25 * np.log(4)
    assert entropy(two)[0] == pytest.approx([half, 0, 0, half])
    three = predict(regions_task(2), np.array([[[0.5]], [[0.5]], [[0]]]))
    assert entropy(three)[0, 0] == pytest.approx(2 * np.log(2))


def test_the_least_sure_boxes_come_first_and_the_next_do_not_overlap_them():
    probability = np.zeros((1, 12, 12), np.float16)
    probability[0, 2:5, 2:5] = 0.5  # a box that is as unsure as can be
    probability[0, 3:6, 3:6] = np.maximum(probability[0, 3:6, 3:6], 0.3)  # one over its corner
    probability[0, 8:11, 8:11] = 0.2
    pool = [predict(classes_task(2, 16, 1), probability)]
    found = build("queries", "entropy").pick(pool, Wanted(2, (3, 3)))
    assert [box.start for box in found] == [(2, 2), (8, 8)]
