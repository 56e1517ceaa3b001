"""The schema of a report: every real report is as it says, and what is not is refused."""

import copy
import json

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, results
from oncoseg.registry import entries
from oncoseg.report import FORMAT, report
from schemas import SCHEMA, faults


def predict(dims=3, *, empty=False):
    shape = (24, 22, 14)[:dims]
    label = np.zeros(shape, np.uint8)
    if not empty:
        label[(slice(4, 10),) * dims] = 1
        label[(slice(5, 8),) * dims] = 2
        label[tuple(slice(size - 2, size) for size in shape)] = 1
    task = Task(
        "toy",
        ("t1", "t2"),
        {"rim": 1, "core": 2},
        {"WT": ("rim", "core"), "TC": ("core",)},
        patch=(8,) * dims,
    )
    probability = np.stack([label > 0, label > 1]).astype(np.float16)
    told = {"value": 0.81, "low": 0.6, "high": 0.9, "level": 0.9}
    return Prediction(
        "case",
        task,
        Grid(shape, np.diag([1.0] * dims + [1.0])),
        label,
        probability,
        ("t1",),
        ("t2",),
        model={"name": "toy", "version": "1"},
        notes=("One note.",),
        intervals={"WT": (0.1, 0.5)},
        level=0.9,
        predicted_dice={"WT": told},
        lesions=({"name": "WT 1", "region": "WT", "volume_ml": 0.2, "confidence": 0.7},),
    )


def written(folder, prediction, **more):
    results.save(prediction, folder / "out")
    report(folder / "out", to=folder / "to", **more)
    (path,) = (folder / "to").glob("*.report.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return written(tmp_path_factory.mktemp("schema"), predict())


FURTHER = sorted(entry.name for entry in entries("findings"))


@pytest.mark.parametrize(("dims", "empty"), [(2, False), (3, False), (2, True), (3, True)])
def test_every_report_is_as_the_schema_says(tmp_path, dims, empty):
    prediction = predict(dims, empty=empty)
    made = written(tmp_path, prediction, findings=FURTHER)
    assert set(made["findings"]) >= set(FURTHER)
    assert list(faults(made, SCHEMA)) == []


def test_reports_under_pseudonyms_are_too(tmp_path):
    made = written(tmp_path, predict(), key=tmp_path / "key")
    assert made["pseudonymised"] is True
    assert list(faults(made, SCHEMA)) == []


def test_the_package_that_validates_says_the_same(plain):
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator
    checker.check_schema(SCHEMA)
    checker(SCHEMA).validate(plain)
    for name, broken in BROKEN.items():
        other = copy.deepcopy(plain)
        broken(other)
        assert bool(list(checker(SCHEMA).iter_errors(other))), name


def row(plain):
    return plain["findings"]["volumes"]["rows"][0]


BROKEN = {
    "format": lambda one: one.update(format="oncoseg-report-0"),
    "no case": lambda one: one.pop("case"),
    "new key": lambda one: one.update(colour="red"),
    "no unit": lambda one: row(one).pop("unit"),
    "value": lambda one: row(one).update(value=None),
    "truth": lambda one: row(one).update(value=True),
    "half": lambda one: row(one).pop("low"),
    "level": lambda one: row(one).update(level=90),
    "method": lambda one: one["findings"]["extent"].update(method="by hand"),
    "section": lambda one: one["findings"].pop("quality"),
    "note": lambda one: one["notes"].append(3),
    "date": lambda one: one.update(date="1.2.2024"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_so_is_found(plain, name):
    other = copy.deepcopy(plain)
    BROKEN[name](other)
    assert list(faults(other, SCHEMA))


def test_the_schema_is_of_the_format_that_is_written(plain):
    assert SCHEMA["properties"]["format"]["const"] == FORMAT == plain["format"]
    assert SCHEMA["$id"].endswith(FORMAT.rpartition("-")[2])
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == set(plain)
