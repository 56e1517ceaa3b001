from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from oncoseg import build
from oncoseg.blocks import surface
from oncoseg.errors import BadOption


def elements(mask, spacing):
    """Centres (mm) of the cells that a surface crosses, and its area in each, cell by cell."""
    padded = np.pad(mask, 1)
    table = surface.areas(tuple(spacing))
    centres, sizes = [], []
    for cell in product(*(range(size - 1) for size in padded.shape)):
        corners = product((0, 1), repeat=mask.ndim)
        inside = [bool(padded[tuple(np.add(cell, corner))]) for corner in corners]
        if any(inside) and not all(inside):
            centres.append(np.multiply(cell, spacing))
            sizes.append(table[sum(1 << bit for bit, one in enumerate(inside) if one)])
    return np.array(centres), np.array(sizes)


@st.composite
def masks(draw):
    dims = draw(st.sampled_from([2, 3]))
    shape = draw(st.tuples(*[st.integers(1, 5)] * dims))
    lengths = st.sampled_from([0.3, 0.5, 1.0, 1.7, 5.0])
    pair = [draw(arrays(bool, shape)) for _ in range(2)]
    return *pair, draw(st.tuples(*[lengths] * dims)), draw(st.sampled_from([0.0, 0.5, 1.0, 2.5]))


@given(masks())
@settings(max_examples=100, deadline=None)
def test_equals_all_distances_computed_one_by_one(drawn):
    prediction, truth, spacing, tolerance = drawn
    value = build("metrics", "nsd", tolerance_mm=tolerance)(prediction, truth, spacing)
    if not (prediction.any() and truth.any()):
        assert value == float(prediction.any() == truth.any())
        return
    (here, area_p), (there, area_t) = (elements(mask, spacing) for mask in (prediction, truth))
    near = cdist(here, there) <= tolerance + 1e-6
    within = area_p[near.any(axis=1)].sum() + area_t[near.any(axis=0)].sum()
    assert value == pytest.approx(within / (area_p.sum() + area_t.sum()), abs=1e-9)


def test_areas_of_flat_and_slanted_surfaces_are_exact():
    """Codes of corners (x, y, z), z the lowest bit: a wall across x, a cut corner, a slope."""
    a, b, c = spacing = (1.0, 2.0, 5.0)
    area = surface.areas(spacing)
    wall = sum(1 << corner for corner in range(8) if corner < 4)
    corner = np.linalg.norm(np.cross([-a / 2, b / 2, 0], [-a / 2, 0, c / 2])) / 2
    assert area[wall] == pytest.approx(b * c)
    assert area[1] == area[128] == pytest.approx(corner)
    assert area[0b11] == pytest.approx(c * np.hypot(a, b) / 2)  # the edge along z is inside
    assert area[0] == area[255] == 0
    assert np.allclose(area, area[::-1])  # inside and outside have one surface
    length = surface.areas((3.0, 4.0))
    assert length.tolist() == [0, 2.5, 2.5, 4, 2.5, 3, 5, 2.5, 2.5, 5, 3, 2.5, 4, 2.5, 2.5, 0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 1.0, 2.0)])
def test_the_area_of_a_box_is_that_of_a_box(spacing):
    mask = np.pad(np.ones((40, 20, 10), bool), 1)
    sides = np.multiply((40, 20, 10), spacing)
    true = 2 * (sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
    total = surface.Pair(mask, mask, spacing).agreement(0.0)[1] / 2
    assert total == pytest.approx(true, rel=0.06)  # edges and corners are cut off
    assert total < true


def test_weighted_by_area_not_by_voxels():
    """A slab whose faces along z are 25 times larger than its steps would suggest by counting."""
    truth = np.zeros((12, 12, 12), bool)
    truth[3:9, 3:9, 3:6] = True
    prediction = truth.copy()
    prediction[3:9, 3:9, 6:9] = True  # thicker by 3 voxels: one face of two is off, and walls
    thin, fat = (build("metrics", "nsd")(prediction, truth, (s, s, 1)) for s in (1, 5))
    assert fat < thin


def test_the_tolerance_is_included_whatever_the_rounding():
    truth = np.zeros((9, 9, 9), bool)
    truth[3:6, 3:6, 3:6] = True
    for step in (0.1, 0.3, 0.7, 1.1):
        spacing = (step * 3 / 3, step, step)
        metric = build("metrics", "nsd", tolerance_mm=step)
        assert metric(np.roll(truth, 1, axis=0), truth, spacing) == 1
        less = build("metrics", "nsd", tolerance_mm=0.99 * step)
        assert less(np.roll(truth, 1, axis=0), truth, spacing) < 1


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_length_is_refused(tolerance):
    with pytest.raises(BadOption, match="tolerance_mm"):
        build("metrics", "nsd", tolerance_mm=tolerance)
