"""Axes: round numbers, the fewer the wider the range."""

from oncoseg.blocks.axes import decades


def test_the_further_apart_the_fewer_marks_a_logarithmic_axis_has():
    assert decades(0, 0.5) == [1, 1.5, 2, 3]
    assert decades(-1, 1) == [0.1, 0.2, 0.5, 1, 2, 5, 10]
    assert decades(0, 3) == [1, 10, 100, 1000]
