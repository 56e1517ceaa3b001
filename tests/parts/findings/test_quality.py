import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build


def test_expected_dice_and_modalities():
    task = Task("t", ("t1", "t2"), {"a": 1, "b": 2}, {"a": ("a",), "b": ("b",)})
    label = np.array([[[1, 1, 0, 0]]], np.uint8)
    probability = np.array([[[[0.9, 0.5, 0.4, 0.2]]], [[[0, 0, 0, 0.1]]]], np.float32)
    prediction = Prediction(
        "c", task, Grid((1, 1, 4), np.eye(4)), label, probability, ("t1",), ("t2",)
    )
    rows = build("findings", "quality")(prediction, Case("c", "c", {}))["rows"]
    assert [row["value"] for row in rows[:2]] == ["t1", "t2"]
    assert [row["value"] for row in rows[2:]] == pytest.approx([2 * 1.4 / 4, 1.0])
    kept_none = prediction.but(probability=probability[:0], missing=())
    rows = build("findings", "quality")(kept_none, Case("c", "c", {}))["rows"]
    assert [row["value"] for row in rows] == ["t1", "none"]
