"""Instance maps: each value is one, on both sides."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, build, results
from oncoseg.errors import BadData, BadOption
from oncoseg.evaluate import evaluate
from oncoseg.write import write_volume

GRID = Grid((12, 10), np.eye(3))
NAMES = ("panoptic_quality", "aji", "average_precision", "dice", "hd95")


def touching():
    """Three instances, of which two touch."""
    made = np.zeros(GRID.shape, np.uint16)
    made[1:4, 1:9], made[4:8, 1:9], made[9:11, 2:5] = 7, 300, 12
    return made


def world(folder, **predicted):
    for case, array in predicted.items():
        write_volume(folder / "out" / f"{case}.nii.gz", array, GRID)
        write_volume(folder / "truth" / f"{case}.nii.gz", touching(), GRID)
    return folder / "out", folder / "truth"


def value(evaluation, case, metric):
    (row,) = [row for row in evaluation.rows if (row.case, row.metric) == (case, metric)]
    return row


def test_instances_are_compared_by_those_metrics_that_know_them(tmp_path):
    merged = np.where(touching() == 7, 300, touching())
    out, truth = world(tmp_path, a=touching(), b=merged)
    evaluation = evaluate(out, truth, metrics=NAMES, instances=True)
    assert {row.region for row in evaluation.rows} == {"instances"}
    for name in NAMES:
        tool = build("metrics", name)
        both = (merged, touching()) if tool.instances else (merged > 0, touching() > 0)
        assert value(evaluation, "b", name).value == pytest.approx(tool(*both, GRID.spacing))
        assert value(evaluation, "a", name).value == (0 if name == "hd95" else 1)
    assert value(evaluation, "b", "dice").value == 1
    assert value(evaluation, "b", "panoptic_quality").value < 1
    assert value(evaluation, "b", "aji").true_ml == pytest.approx(62 / 1000)


def test_missing_and_broken_cases_count_as_the_worst(tmp_path):
    out, truth = world(tmp_path, a=touching(), b=touching(), c=touching())
    (out / "b.nii.gz").unlink()
    (out / "c.nii.gz").write_bytes(b"broken")
    evaluation = evaluate(out, truth, metrics=NAMES, instances=True)
    assert sorted(evaluation.failed) == ["b", "c"]
    for case in "bc":
        assert value(evaluation, case, "panoptic_quality").value == 0
        assert value(evaluation, case, "hd95").value == pytest.approx(np.hypot(12, 10))


def test_label_maps_of_structures_are_no_instance_maps(tmp_path):
    out, truth = world(tmp_path, a=touching())
    with pytest.raises(BadOption, match="no regions"):
        evaluate(out, truth, regions={"x": (1,)}, instances=True)
    task = Task("toy", ("t1",), {"cell": 1}, {"cell": ("cell",)}, (1.0,) * 2, (8,) * 2)
    label = (touching() > 0).astype(np.uint8)
    empty = np.zeros((1, *label.shape), np.float16)
    results.save(Prediction("a", task, GRID, label, empty, ("t1",)), tmp_path / "records")
    with pytest.raises(BadData, match="label maps of structures"):
        evaluate(tmp_path / "records", truth, instances=True)
