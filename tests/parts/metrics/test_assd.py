import numpy as np
import pytest

from oncoseg import build


def plates(thick):
    mask = np.zeros((30, 30, 30), bool)
    mask[10 : 10 + thick, 5:25, 5:25] = True
    return mask


def test_pooled_counts_points_and_else_directions_alike():
    one, two = np.zeros((2, 1, 12), bool)
    one[0, :8], two[0, 0] = True, True
    # From one to two 0 .. 7 mm, from two to one 0: (28 + 0) / 9, and (3.5 + 0) / 2.
    pooled, directions = (
        build("metrics", f"assd:pooled={word}")(one, two, (1.0, 1.0)) for word in ("true", "false")
    )
    assert (pooled, directions) == (pytest.approx(28 / 9), pytest.approx(3.5 / 2))


def test_elements_count_by_area_so_that_a_finer_grid_changes_little():
    values = {}
    for mesh in ("true", "false"):
        for fine in (1, 2):
            prediction, truth = (plates(thick).repeat(fine, 1).repeat(fine, 2) for thick in (4, 6))
            metric = build("metrics", f"assd:mesh={mesh}")
            values[mesh, fine] = metric(prediction, truth, (1.0, 1 / fine, 1 / fine))
    assert values["true", 1] == pytest.approx(values["true", 2], rel=0.05)
    assert abs(values["false", 1] / values["false", 2] - 1) > 0.05
