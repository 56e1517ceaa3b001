import math

import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build

GLIOMA = Task(
    "glioma",
    ("t1",),
    {"NCR": 1, "ED": 2, "ET": 4},
    {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
)


def section(task, values, **changes):
    label = np.array(values, np.uint8).reshape(-1, 1, 1)
    none = np.zeros((0, *label.shape), np.float16)
    prediction = Prediction("c", task, Grid(label.shape, np.eye(4)), label, none, ("t1",))
    return build("findings", "care_ratio_ci")(prediction.but(**changes), Case("c", "c", {}))


def test_voxels_are_divided_exactly_and_told_to_have_no_interval():
    found = section(GLIOMA, [1] * 3 + [2] * 10 + [4] * 7)
    assert {row["name"]: row["value"] for row in found["rows"]} == {
        "TC / WT": 0.5,
        "ED / WT": 0.5,
        "ET / WT": 0.35,
        "NCR / WT": 0.15,
        "ET / TC": 0.7,
        "NCR / TC": 0.3,
    }
    assert not any("low" in row for row in found["rows"])
    assert len(found["notes"]) == 1
    assert found["notes"][0].startswith("How far off the ratios of regions can be is not ")


@pytest.mark.parametrize("step", [0.3, 0.37, 0.6, 0.7, 0.9, 1.1, 1.3, 2.7])
def test_the_order_of_labels_changes_no_digit(step):
    labels = {f"part {number}": number for number in range(1, 11)}
    counts = [number**3 for number in labels.values()]
    grid = Grid((sum(counts), 1, 1), np.diag([0.7, 0.9, step, 1]))
    values = np.repeat(list(labels.values()), counts)
    found = section(Task("t", ("t1",), labels, {"all": tuple(labels)}), values, grid=grid)
    sizes = [count * (grid.voxel_volume / 1000) for count in counts]
    shares = {size / math.fsum(sizes) for size in sizes}
    assert {row["value"] for row in found["rows"]} == shares


def test_a_known_interval_is_shown_and_the_others_are_named():
    known = {"value": 0.32, "low": 0.2, "high": 0.4, "level": 0.9}
    found = section(GLIOMA, [1] * 3 + [2] * 10 + [4] * 7, ratios={"NCR / TC": known})
    assert found["rows"][-1] == {"name": "NCR / TC", "unit": "", **known}
    told = "How far off the ratio TC / WT, ED / WT, ET / WT, NCR / WT, ET / TC can be is not "
    assert found["notes"][0].startswith(told)


def test_nothing_is_divided_by_nothing():
    found = section(GLIOMA, [2] * 4 + [0] * 4)
    assert [row["name"] for row in found["rows"]] == ["TC / WT", "ED / WT", "ET / WT", "NCR / WT"]
    assert found["notes"][0] == "Nothing to divide by, so no ratio: ET / TC, NCR / TC."
    found = section(GLIOMA, [0] * 8)
    assert found["rows"] == []
    assert len(found["notes"]) == 1


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "No ratios: no region of this task is a part of another."),
        (13, "No ratios: 13 regions are parts of others, more than a page holds (12)."),
    ],
)
def test_tasks_without_parts_or_with_very_many_have_none(count, told):
    labels = {f"organ {value}": value for value in range(1, count + 1)}
    task = Task("t", ("t1",), labels, {name: (name,) for name in labels})
    assert section(task, [1, 0]) | {"method": ""} == {
        "title": "Ratios",
        "method": "",
        "rows": [],
        "notes": [told],
    }
