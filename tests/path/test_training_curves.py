"""Curves of a training, and what is said of where they lead."""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.train.page import history
from oncoseg.train.page.curves import Clock, Curve, draw, smoothed, timed
from oncoseg.train.page.told import answer, rising


def test_time_axes():
    assert [timed(one) for one in (9.4, 65, 7500)] == ["9 s", "1:05 min", "2:05 h"]
    clock = Clock(600.0, [(0.0, 0.0), (600.0, 300.0)])
    assert clock.step(300.0) == 150
    curve = Curve([(0.0, 0.1, 0.0, 0.2), (600.0, 0.9, 0.8, 1.0)], "#000000")
    drawn = draw([curve], clock, [(60.0, "resumed")], "Dice")
    assert "step 300" in drawn
    assert "10 min" in drawn
    assert "resumed" in drawn
    assert "nan" not in draw([Curve([(1.0, 0.5, np.nan, np.nan)], "#000")], clock, [], "")
    assert [value for _, value in smoothed([(0, 1.0), (1, 2.0), (2, 6.0)])] == [1.5, 3.0, 4.0]


def test_the_curves_say_what_a_page_is_drawn_from(tmp_path):
    story = history.History(
        tmp_path / "m.run",
        {"regions": ["x"], "done": 0.5, "patients": {"a": "p", "b": "p", "c": "q"}},
        [
            {"step": 10 * at, "seconds": 60.0 * at, "cases": {one: {"x": dice} for one in "abc"}}
            for at, dice in ((1, 0.2), (2, 0.5), (3, 0.7), (4, 0.8))
        ],
        {},
    )
    change, seconds = story.rise()
    assert (round(change.mean, 9), change.low, change.high) == (0.1, *[pytest.approx(0.1)] * 2)
    assert (seconds, change.cases) == (60.0, 3)
    assert "0:60" not in rising(story)
    assert "1:00 min" in rising(story)
    assert answer(story)[0] == "Dice 0.800 now on 3 held-out cases: it still rises (+0.100 lately)"
    lone = {"a": {"x": 0.5}, "b": {"x": 0.7}}
    assert np.isnan(story.spread(lone).low)  # of one patient there is no interval
    flat = replace(story, lines=[{**line, "cases": {"a": {"x": 0.5}, "c": {"x": 0.9}}}
                                 for line in story.lines])  # fmt: skip
    assert answer(flat)[0].endswith("it has levelled off")
