"""Centreline Dice: tubes count by their length, whatever their width."""

import numpy as np
import pytest

from oncoseg import build


def network(*, wide=0, thin=True):
    """A thick vessel along the first axis, a thin branch of 20 voxels from it."""
    made = np.zeros((41, 45, 9), bool)
    made[5:36, 10 - 2 - wide : 13 + wide, 2:7] = True
    if thin:
        made[20, 12:40, 4] = True
    return made


@pytest.mark.parametrize("dims", [2, 3])
def test_a_lost_branch_costs_its_length_and_not_its_volume(dims):
    cut = (slice(None),) * dims + (4,) * (3 - dims)
    truth, lost = network()[cut], network(thin=False)[cut]
    value = build("metrics", "cl_dice")(lost, truth, (1.0,) * dims)
    # The whole skeleton found is right; about 28 of 28 + 27 true ones are in the prediction.
    assert 0.6 < value < 0.75
    assert build("metrics", "dice")(lost, truth, (1.0,) * dims) > value + 0.1
    assert value == build("metrics", "cl_dice")(truth, lost, (1.0,) * dims)


def test_a_wider_vessel_with_the_same_middle_is_perfect():
    metric = build("metrics", "cl_dice")
    assert metric(network(wide=1), network(), (1, 1, 1)) == 1
    assert build("metrics", "dice")(network(wide=1), network(), (1, 1, 1)) < 0.9


def test_by_hand():
    """Lines of one voxel are their own skeletons: 6 of 8 and 6 of 10 in common."""
    prediction, truth = np.zeros((2, 3, 20), bool)
    prediction[1, 2:10], truth[1, 4:14] = True, True
    value = build("metrics", "cl_dice")(prediction, truth, (5.0, 0.3))
    assert value == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
