"""The verb `froc`: over folders, with cases that fail, as a page, and its threshold put to use."""

import json

import numpy as np
import pytest

import oncoseg
from contests import many_candidates
from oncoseg import Grid, results
from oncoseg.__main__ import call
from oncoseg.errors import BadData, BadOption, UnknownName
from oncoseg.evaluate import evaluate
from oncoseg.posthoc.operating_point import OperatingPoint
from oncoseg.write import write_volume
from worlds import classes_task

SHAPE = (24, 22, 12)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
TASK = classes_task(3, 16, classes=1)


def simulated(seed):
    return many_candidates(TASK, GRID, seed)


def world(folder, seeds=range(4)):
    for seed in seeds:
        prediction, truth = simulated(seed)
        results.save(prediction, folder / "out", probabilities=True)
        write_volume(folder / "truth" / f"case_{seed}.nii.gz", truth, GRID)
    return folder / "out", folder / "truth"


def test_the_threshold_it_gives_does_what_it_says_where_it_is_used(tmp_path):
    """As a step on the same predictions, measured by the metrics of lesions."""
    out, truth = world(tmp_path)
    (curve,) = oncoseg.froc(out, truth, false_positives=2, to=tmp_path / "froc").curves
    step = OperatingPoint(threshold=curve.point.threshold)
    for seed in range(4):
        results.save(step(simulated(seed)[0]), tmp_path / "used", probabilities=True)
    found = evaluate(tmp_path / "used", truth, metrics=("false_positives:iou=0.1",))
    assert found.mean("class_1", "false_positives:iou=0.1") == pytest.approx(
        curve.point.false_positives
    )
    assert curve.point.false_positives <= 2
    said = json.loads((tmp_path / "froc" / "froc.json").read_text())["regions"]["class_1"]
    assert said["point"]["threshold"] == pytest.approx(curve.point.threshold, abs=1e-6)
    assert said["score"]["value"] == pytest.approx(curve.froc.score(), abs=1e-6)
    assert sum(row["lesions"] for row in said["sizes"]) == said["lesions"]
    share = sum(row["found"] for row in said["sizes"]) / said["lesions"]
    assert share == pytest.approx(curve.point.sensitivity)
    page = (tmp_path / "froc" / "froc.html").read_text()
    assert page.count("<svg") == 1
    assert f"operating_point:region=class_1,threshold={curve.point.threshold:.6g}" in page
    assert "<script" not in page


def test_a_case_that_is_missing_or_broken_counts_as_the_worst(tmp_path, capsys):
    out, truth = world(tmp_path)
    (before,) = oncoseg.froc(out, truth).curves
    (out / "case_1.json").unlink()
    (out / "case_2.probability.class_1.nii.gz").write_bytes(b"nothing")
    found = oncoseg.froc(out, truth)
    (curve,) = found.curves
    assert found.failed == ("case_1", "case_2")
    assert curve.cases == 4
    assert curve.froc.lesions == before.froc.lesions
    assert curve.froc.score() < before.froc.score()
    most = max(len(case.false) for case in curve.froc.cases)
    assert [len(case.false) for case in curve.froc.cases][1:3] == [most, most]
    assert not curve.froc.cases[1].lesions.any()
    assert call(["froc", str(out), str(truth)]) == 1
    told = capsys.readouterr().out
    assert "so nothing of it is found: case_1" in told
    assert "Case case_2 failed" in told


def test_some_cases_alone_and_one_region(tmp_path, capsys):
    out, truth = world(tmp_path)
    names = tmp_path / "some.json"
    names.write_text('["case_0", "case_3"]')
    words = ["froc", str(out), str(truth), "--cases", str(names), "--region", "class_1", "--json"]
    assert call(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["regions"]["class_1"]["cases"] == 2
    assert found["regions"]["class_1"]["chosen"] is False
    with pytest.raises(UnknownName, match="did you mean class_1"):
        oncoseg.froc(out, truth, region="class_2")
    with pytest.raises(BadData, match="no case 'case_9'"):
        oncoseg.froc(out, truth, cases=("case_9",))


def test_what_cannot_be_is_refused(tmp_path):
    out, truth = world(tmp_path, range(2))
    with pytest.raises(BadData, match="class_1: no threshold finds 1 of the lesions"):
        oncoseg.froc(out, truth, sensitivity=1)
    with pytest.raises(BadOption, match="not for both"):
        oncoseg.froc(out, truth, sensitivity=0.5, false_positives=1)
    with pytest.raises(BadOption, match="above 0 and up to 1"):
        oncoseg.froc(out, truth, sensitivity=1.5)
    (out / "case_1.probability.class_1.nii.gz").unlink()
    with pytest.raises(BadData, match="is not there, but FROC needs it; run 'oncoseg predict'"):
        oncoseg.froc(out, truth)


def test_evaluate_takes_some_cases_of_folders_alone(tmp_path):
    out, truth = world(tmp_path)
    found = evaluate(out, truth, metrics=("dice",), cases=("case_1", "case_2"))
    assert {row.case for row in found.rows} == {"case_1", "case_2"}
    with pytest.raises(BadOption, match="those of two folders"):
        evaluate(out / "case_1.nii.gz", truth / "case_1.nii.gz", cases=("case_1",))
