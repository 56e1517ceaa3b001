"""Most boxes hold foreground even where it is rare; a third lie anywhere."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, build
from oncoseg.errors import BadOption
from oncoseg.parts import Wanted
from oncoseg.registry import entry
from worlds import classes_task

TASK = classes_task(3, 16, classes=2)
SIDE = 40


def pool(cases=6, reach=8):
    """Cases with 1 % of foreground: two labels, side by side, somewhere in the volume."""
    rng = np.random.default_rng(0)
    found = []
    for case in range(cases):
        label = np.zeros((SIDE,) * 3, np.uint8)
        x, y, z = rng.integers(0, SIDE - 10, 3)
        label[x : x + reach, y : y + 9, z : z + 5] = 1
        label[x : x + reach, y : y + 9, z + 5 : z + 9] = 2
        none = np.zeros((0, *label.shape), np.float16)
        grid = Grid(label.shape, np.eye(4))
        found.append(Prediction(f"case {case}", TASK, grid, label, none, ("image",)))
    return found


def share(query, cases, size=(5, 5, 5), seeds=12):
    """Share of the boxes that hold foreground, and of those with it in their middle."""
    labels = {case.case: case.label for case in cases}
    held, middle = [], []
    for seed in range(seeds):
        for box in query.pick(cases, Wanted(20, size, seed=seed)):
            part = labels[box.case][tuple(map(slice, box.start, box.stop))]
            held.append(part.any())
            middle.append(
                labels[box.case][tuple(at + side // 2 for at, side in zip(box.start, size))]
            )
    return np.mean(held), np.array(middle)


def test_more_than_60_percent_of_boxes_hold_the_one_percent_of_foreground():
    cases = pool()
    assert np.mean([case.label.astype(bool).mean() for case in cases]) == pytest.approx(
        0.01, rel=0.1
    )
    held, middle = share(build("queries", "foreground_random"), cases)
    assert held >= 0.6
    assert held < 0.85  # and a third of them lie anywhere
    ones, twos = (middle == 1).sum(), (middle == 2).sum()
    assert 0.6 < ones / twos < 1.7  # labels, not voxels, are drawn evenly


def test_a_third_or_none_if_asked():
    cases = pool()
    third, _ = share(build("queries", "foreground_random:foreground=0.333"), cases)
    plain, _ = share(build("queries", "foreground_random:foreground=0"), cases)
    assert plain < 0.15 < third < 0.55


def test_half_of_the_aims_are_at_the_border():
    """Of a cube of 20 voxels a side, 27 % lie on its surface."""
    label = np.zeros((24,) * 3, np.uint8)
    label[2:22, 2:22, 2:22] = 1
    core = label[3:21, 3:21, 3:21]
    case = pool(1)[0].but(label=label, grid=Grid(label.shape, np.eye(4)))
    query = build("queries", "foreground_random:foreground=1")
    edge = []
    for seed in range(1500):
        (box,) = query.pick([case], Wanted(1, (3, 3, 3), seed=seed))
        middle = np.array(box.start) + 1
        assert label[tuple(middle)]
        edge.append(not ((middle >= 3) & (middle < 21)).all())
    share = 1 - core.size / label.sum()
    assert np.mean(edge) == pytest.approx(0.5 + 0.5 * share, abs=0.04)


def test_cases_take_turns():
    found = build("queries", "foreground_random:foreground=0").pick(pool(), Wanted(12, (4, 4, 4)))
    assert sorted(box.case for box in found) == sorted(2 * [f"case {case}" for case in range(6)])


def test_it_says_that_it_is_shown_the_truth():
    assert entry("queries", "foreground_random").needs == ("truth",)
    assert entry("queries", "clasp_pe").needs == ()


def test_options_out_of_range_are_refused():
    with pytest.raises(BadOption, match="from 0 to 1, not 66"):
        build("queries", "foreground_random:foreground=66")
