"""Where the values of a label map lie, and that measuring in cut masks changes no value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oncoseg import build
from oncoseg.blocks import surface
from oncoseg.blocks.extents import around, extents
from oncoseg.case import Task
from oncoseg.evaluate import evaluate
from oncoseg.registry import entries

LABELS = {"a": 1, "b": 2, "c": 7}
TASK = Task(
    "t",
    ("image",),
    LABELS,
    {"whole": ("a", "b"), "c": ("c",), "a": ("a",)},
    spacing=(1.0, 1.0, 2.0),
    patch=(8, 8, 8),
    strides=((2, 2, 2),),
)


@given(
    arrays(
        st.sampled_from([np.uint8, np.int16, np.int32, np.int64]),
        st.tuples(*[st.integers(1, 5)] * 3),
        elements=st.sampled_from([0, 1, 2, 7]),
    ),
    st.sampled_from([0, 70_000]),
)
@settings(max_examples=60, deadline=None)
def test_every_value_lies_in_its_box_and_no_smaller_one(label, more):
    if more and label.itemsize > 2:
        label = np.where(label, label + more, 0)
    found = extents(label)
    assert set(found) == set(np.unique(label).tolist()) - {0}
    for value, box in found.items():
        assert box == surface.bounds(label == value)
        assert (label[box] == value).sum() == (label == value).sum()


def test_around_nothing_is_one_voxel():
    assert around([], 2) == (slice(0, 1), slice(0, 1))
    assert around([(slice(1, 3), slice(4, 5)), (slice(2, 6), slice(0, 1))], 2) == (
        slice(1, 6),
        slice(0, 5),
    )


@pytest.mark.parametrize("metric", [one.name for one in entries("metrics") if not one.needs])
def test_cut_masks_have_the_values_of_whole_ones(metric):
    rng = np.random.default_rng(4)
    truth, prediction = np.zeros((2, 12, 10, 8), np.uint8)
    truth[2:7, 3:8, 1:5] = rng.choice([0, 1, 2], (5, 5, 4), p=[0.3, 0.4, 0.3])
    prediction[3:8, 3:8, 2:6] = rng.choice([0, 1, 2, 7], (5, 5, 4))
    sides = {"spacing": TASK.spacing, "regions": TASK, "metrics": (metric,)}
    found = evaluate(prediction, truth, **sides).means
    for region, members in TASK.regions.items():
        values = [LABELS[member] for member in members]
        whole = [np.isin(label, values) for label in (prediction, truth)]
        value = build("metrics", metric)(*whole, TASK.spacing)
        assert found[region][metric] == pytest.approx(value, abs=1e-9, nan_ok=True), region
