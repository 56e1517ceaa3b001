import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from oncoseg import build
from oncoseg.blocks import surface


def points(mask, spacing):
    """Surface voxels in mm, one by one: those with a neighbour by a face outside mask or image."""
    found = []
    for voxel in np.argwhere(mask):
        for step in (*np.eye(mask.ndim, dtype=int), *-np.eye(mask.ndim, dtype=int)):
            there = voxel + step
            inside = (there >= 0).all() and (there < mask.shape).all()
            if not (inside and mask[tuple(there)]):
                found.append(voxel * spacing)
                break
    return np.array(found)


@st.composite
def masks(draw):
    """Two masks, most of them with holes and at the border, and an anisotropic spacing."""
    dims = draw(st.sampled_from([2, 3]))
    shape = draw(st.tuples(*[st.integers(1, 6)] * dims))
    lengths = st.sampled_from([0.3, 0.5, 1.0, 1.7, 5.0])
    pair = [draw(arrays(bool, shape)) for _ in range(2)]
    return *pair, draw(st.tuples(*[lengths] * dims))


@given(masks())
@settings(max_examples=150, deadline=None)
def test_equals_all_distances_computed_one_by_one(drawn):
    prediction, truth, spacing = drawn
    value = build("metrics", "hd95")(prediction, truth, spacing)
    if prediction.any() and truth.any():
        table = cdist(points(prediction, spacing), points(truth, spacing))
        ways = [np.percentile(table.min(axis=axis), 95) for axis in (0, 1)]
        assert value == pytest.approx(max(ways), abs=1e-9)
    elif prediction.any() or truth.any():
        assert value == pytest.approx(np.linalg.norm(np.multiply(truth.shape, spacing)))
    else:
        assert value == 0


def test_both_ways_of_finding_the_nearest_give_the_same(monkeypatch):
    generator = np.random.default_rng(0)
    prediction, truth = np.ones((20, 24, 16), bool), np.zeros((20, 24, 16), bool)
    truth[8:12, 9:14, 6:9] = generator.random((4, 5, 3)) > 0.4
    spacing, values = (1.0, 0.7, 2.0), []
    for transform in (0.0, np.inf):  # as if it cost nothing, or too much
        monkeypatch.setattr(surface, "TRANSFORM_NS", transform)
        values.append(build("metrics", "hd95")(prediction, truth, spacing))
    table = cdist(points(prediction, spacing), points(truth, spacing))
    true = max(np.percentile(table.min(axis=axis), 95) for axis in (0, 1))
    assert values == pytest.approx([true, true], abs=1e-9)


def test_a_twentieth_of_outliers_is_forgiven_no_more():
    truth = np.zeros((60, 60), bool)
    truth[10, 5:55] = True
    few, many = truth.copy(), truth.copy()
    few[40, 10:12] = True  # 2 of 52 surface pixels
    many[40, 10:16] = True  # 6 of 56
    metric = build("metrics", "hd95")
    assert metric(few, truth, (1, 1)) == 0
    assert metric(many, truth, (1, 1)) == 30
    assert metric(truth, many, (1, 1)) == 30


def test_what_lies_around_the_masks_does_not_matter():
    generator = np.random.default_rng(0)
    prediction, truth = generator.random((2, 6, 7, 5)) > 0.7
    wide = [np.pad(mask, ((9, 3), (0, 20), (7, 0))) for mask in (prediction, truth)]
    metric = build("metrics", "hd95")
    assert metric(*wide, (1, 2, 3)) == pytest.approx(metric(prediction, truth, (1, 2, 3)))


def test_metrics_share_surfaces_of_the_same_arrays_and_only_within_the_block():
    truth = np.zeros((8, 8), bool)
    truth[2:5, 2:5] = True
    prediction = np.roll(truth, 2, axis=0)
    metric = build("metrics", "hd95")
    with surface.shared(prediction, truth, (1, 1)) as shared:
        assert metric(prediction, truth, (1, 1)) == 2
        assert "distances" in vars(shared)
        assert surface.pair(prediction, truth, (1.0, 1.0)) is shared
        assert metric(prediction, truth, (3, 1)) == 6
        assert surface.pair(prediction.copy(), truth, (1, 1)) is not shared
    prediction[:] = truth
    assert metric(prediction, truth, (1, 1)) == 0
