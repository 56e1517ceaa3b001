"""Polygons: voxel centres inside by the even-odd rule; holes, islands, keyholes, crossings."""

import numpy as np
import pytest

from oncoseg.blocks.polygons import combined, filled

SHAPE = (40, 50)  # rows, columns


def square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], dtype=float)


def test_voxels_whose_centres_lie_inside_are_filled():
    mask = filled(np.array([[1.5, 2.5], [4.5, 2.5], [4.5, 8.5], [1.5, 8.5]]), SHAPE)
    assert np.argwhere(mask).min(0).tolist() == [3, 2]  # row, column
    assert np.argwhere(mask).max(0).tolist() == [8, 4]
    assert mask.sum() == 6 * 3


def test_polygons_that_share_an_edge_share_no_voxel_and_leave_none_out():
    left = filled(np.array([[2, 2], [10, 2], [10, 9], [2, 9]], dtype=float), SHAPE)
    right = filled(np.array([[10, 2], [20, 2], [20, 9], [10, 9]], dtype=float), SHAPE)
    assert not (left & right).any()
    assert (left | right).sum() == 18 * 7


def test_the_area_of_a_circle_is_met_and_its_direction_is_nothing():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([25.3 + 12 * np.cos(angle), 20.1 + 12 * np.sin(angle)], axis=1)
    mask = filled(circle, SHAPE)
    assert mask.sum() == pytest.approx(np.pi * 144, rel=0.02)
    assert (filled(circle[::-1], SHAPE) == mask).all()
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(columns - 25.3, rows - 20.1)
    assert (mask == (distance < 12))[np.abs(distance - 12) > 0.01].all()


def test_what_lies_beyond_the_image_is_cut():
    assert filled(square(-1e6, 1e6), SHAPE).all()
    assert filled(np.array([[30, -5], [99, -5], [99, 3.5], [30, 3.5]]), SHAPE).sum() == 20 * 4


def test_inner_outlines_are_holes_and_islands():
    outer, hole, island = (filled(square(low, 30 - low), SHAPE) for low in (2.5, 6.5, 10.5))
    assert combined([hole, island, outer]).sum() == outer.sum() - hole.sum() + island.sum()
    assert combined([outer, outer]).sum() == outer.sum()
    apart = filled(square(31.5, 36.5), SHAPE)
    assert combined([outer, apart]).sum() == outer.sum() + apart.sum()


def test_a_keyhole_is_a_hole():
    outer = [[2.5, 2.5], [20.5, 2.5], [20.5, 20.5], [2.5, 20.5], [2.5, 10.2]]
    inner = [[7.5, 10.2], [7.5, 14.5], [14.5, 14.5], [14.5, 7.5], [7.5, 7.5], [7.5, 10.2]]
    keyhole = np.array([*outer, *inner, [2.5, 10.2]])
    assert filled(keyhole, SHAPE).sum() == 18 * 18 - 7 * 7


def test_outlines_that_cross_are_refused_unless_they_are_to_alternate():
    first = filled(square(2.5, 20.5), SHAPE)
    second = filled(square(12.5, 30.5), SHAPE)
    with pytest.raises(ValueError, match="cross"):
        combined([first, second])
    assert (combined([first, second], alternate=True) == (first ^ second)).all()
