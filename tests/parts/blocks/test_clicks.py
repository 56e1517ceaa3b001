"""Simulated clicks: likelier deep inside, where the larger error is, and counted as NoC counts."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from oncoseg.blocks.clicks import (
    clicks_needed,
    corrections,
    dice_curve,
    drawn_box,
    iou_of,
    next_click,
    one_piece,
    packed,
    packed_boxes,
    sampled,
)

SQUARE = np.zeros((20, 20), bool)
SQUARE[4:13, 5:14] = True


def test_the_chance_of_a_voxel_is_exp_of_its_depth_less_one():
    line = np.zeros(7, bool)
    line[1:6] = True  # depths 1 2 3 2 1
    drawn = sampled(line, np.random.default_rng(0), 40000)[:, 0]
    wanted = np.exp([1, 2, 3, 2, 1]) - 1
    found = np.bincount(drawn, minlength=7)
    assert found[0] == found[6] == 0
    assert np.allclose(found[1:6] / 40000, wanted / wanted.sum(), atol=0.01)


def test_clicks_lie_deeper_than_voxels_drawn_evenly():
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(SQUARE)
    drawn = sampled(SQUARE, np.random.default_rng(0), 2000)
    assert depth[tuple(drawn.T)].mean() > depth[SQUARE].mean() + 1


def test_the_border_of_the_image_is_outside():
    assert next_click(np.ones((9, 9), bool), np.zeros((9, 9), bool))[0].tolist() == [4, 4]
    assert sampled(np.zeros((9, 9), bool), np.random.default_rng(0)).shape == (0, 2)


def test_the_next_click_is_deep_in_the_larger_error():
    place, foreground = next_click(SQUARE, np.zeros_like(SQUARE))
    assert (place.tolist(), foreground) == ([8, 9], True)
    mask = SQUARE.copy()
    mask[12, 5] = False  # one voxel is missed, five by five are wrongly taken
    mask[15:20, 15:20] = True
    place, foreground = next_click(SQUARE, mask)
    assert (place.tolist(), foreground) == ([17, 17], False)
    assert next_click(SQUARE, SQUARE)[1]


def test_corrections_are_in_both_errors_with_their_chance():
    mask = np.roll(SQUARE, 4, axis=0)
    rng = np.random.default_rng(0)
    for point, inside in corrections(SQUARE, mask, 1.0, rng):
        assert bool(SQUARE[tuple(point)]) == inside != bool(mask[tuple(point)])
    assert len(corrections(SQUARE, mask, 1.0, rng)) == 2
    assert not corrections(SQUARE, mask, 0.0, rng)
    assert not corrections(SQUARE, SQUARE, 1.0, rng)
    counts = [len(corrections(SQUARE, mask, 0.25, rng)) for _ in range(400)]
    assert np.mean(counts) == pytest.approx(0.5, abs=0.1)


def test_boxes_are_drawn_round_the_region_within_a_tenth():
    rng = np.random.default_rng(0)
    boxes = np.stack([drawn_box(SQUARE, rng) for _ in range(200)])
    off = np.abs(boxes - [[4, 5], [12, 13]])
    assert 0.7 < off.max() <= 0.9
    assert (boxes[:, 0] <= boxes[:, 1]).all()


def test_one_piece_is_one_of_them():
    two = SQUARE.copy()
    two[16:18, 16:18] = True
    rng = np.random.default_rng(0)
    assert {int(one_piece(two, rng).sum()) for _ in range(30)} == {4, 81}


def test_short_lists_are_padded():
    like = torch.zeros(2, 1, 8, 8)
    points, kinds = packed([[(np.array([1, 2]), True), (np.array([3, 4]), False)], []], like)
    assert points[0].tolist() == [[1, 2], [3, 4]]
    assert kinds.tolist() == [[1, 0], [-1, -1]]
    boxes = packed_boxes([[], [np.array([[1, 2], [3, 4]])]], like)
    assert boxes[1].tolist() == [[[1, 2], [3, 4]]]
    assert (boxes[0, 0, 1] < boxes[0, 0, 0]).all()


class Painter:
    """A session in which each click takes or clears all within two voxels of it."""

    def __init__(self, shape):
        self.mask = np.zeros(shape, bool)

    def click(self, *place, foreground=True):
        axes = np.indices(self.mask.shape)
        self.mask[np.abs(axes - np.reshape(place, (-1, 1, 1))).max(0) <= 2] = foreground


def test_the_curve_rises_and_noc_is_the_first_to_reach():
    curve = dice_curve(Painter(SQUARE.shape), SQUARE, 8)
    assert curve[0] == pytest.approx(2 * 25 / (25 + 81))
    assert all(later >= earlier for earlier, later in pairwise(curve[:5]))
    assert clicks_needed([0.2, 0.93, 0.9, 0.96], 0.85) == (2, True)
    assert clicks_needed([0.2, 0.93, 0.9, 0.96], 0.9) == (4, True)
    assert clicks_needed([0.2, 0.91], 0.85) == (2, False)  # an IoU of 0.835


def test_the_iou_is_that_of_the_dice():
    for inside, one, other in ((3, 4, 5), (0, 2, 2), (7, 7, 7)):
        assert iou_of(2 * inside / (one + other)) == pytest.approx(inside / (one + other - inside))


def test_no_point_is_clicked_twice():
    """A mask that never changes is clicked somewhere else each time."""
    clicked = []
    for _ in range(80):
        place, foreground = next_click(SQUARE, np.zeros_like(SQUARE), clicked)
        assert SQUARE[tuple(place)]
        assert foreground
        clicked.append(place)
    assert len({tuple(place) for place in clicked}) == 80
