"""What every finding must keep to: plain data, units, nothing changed, also if empty or flat."""

import copy
import json

import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.registry import entries


def predict(dims, *, empty):
    shape = (12, 14, 10)[:dims]
    label = np.zeros(shape, np.uint8)
    if not empty:
        label[(slice(3, 7),) * dims] = 1
        label[(slice(4, 6),) * dims] = 2
    regions = {"whole": ("rim", "core"), "core": ("core",)}
    task = Task("toy", ("t1", "t2"), {"rim": 1, "core": 2}, regions, patch=(8,) * dims)
    probability = np.stack([label > 0, label > 1]).astype(np.float16)
    return Prediction(
        "case", task, Grid(shape, np.eye(dims + 1)), label, probability, ("t1",), ("t2",)
    )


@pytest.mark.parametrize("name", [entry.name for entry in entries("findings")])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_contract(name, dims, empty):
    prediction = predict(dims, empty=empty)
    before = copy.deepcopy(prediction)
    section = build("findings", name)(prediction, Case("case", "case", {}))
    assert section["title"]
    assert section["method"].endswith(".")
    json.dumps(section, allow_nan=False)
    for row in section["rows"]:
        assert {"name", "value", "unit"} <= row.keys()
        assert row.get("region", "core") in prediction.task.regions
        assert isinstance(row["value"], (int, float, str))
    assert np.array_equal(prediction.label, before.label)
    assert np.array_equal(prediction.probability, before.probability)


@pytest.mark.parametrize("entry", entries("findings"), ids=lambda entry: entry.name)
def test_card_and_size(entry):
    assert entry.card.title
    assert entry.summary.endswith(".")
    assert len(entry.path.read_text(encoding="utf-8").splitlines()) <= 90
