import numpy as np
import pytest

from oncoseg import build
from oncoseg.errors import BadOption


def disc(radius):
    rows, columns = np.ogrid[:200, :200]
    return (rows - 100) ** 2 + (columns - 100) ** 2 <= radius**2


def test_an_error_at_the_edge_costs_large_objects_as_much_as_small_ones():
    """The paper's point: IoU forgives the same shift in a large object."""
    values = {
        name: [build("metrics", name)(disc(r + 2), disc(r), (1.0, 1.0)) for r in (20, 80)]
        for name in ("iou", "boundary_iou:width_mm=6")
    }
    small, large = values["iou"]
    assert large - small > 0.1
    small, large = values["boundary_iou:width_mm=6"]
    assert abs(large - small) < 0.05


def test_a_width_beyond_the_object_gives_the_iou():
    wide = build("metrics", "boundary_iou:width_mm=500")
    assert wide(disc(30), disc(33), (1.0, 1.0)) == build("metrics", "iou")(
        disc(30), disc(33), (1.0, 1.0)
    )


def test_the_width_is_two_percent_of_the_diagonal_in_mm():
    spacing, pair = (0.5, 0.5), (disc(40), disc(44))
    width = 0.02 * np.hypot(100, 100)
    explicit = build("metrics", f"boundary_iou:width_mm={width}")
    assert build("metrics", "boundary_iou")(*pair, spacing) == explicit(*pair, spacing)
    with pytest.raises(BadOption, match="from 0"):
        build("metrics", "boundary_iou:width_mm=-1")
