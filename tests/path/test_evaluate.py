"""Evaluation: who is compared with whom, what is counted, what is refused, what is written."""

import csv
import json
import math
import re
import shutil

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, files, results
from oncoseg.blocks import layouts
from oncoseg.blocks.statistics import interval
from oncoseg.errors import BadData, BadOption, UnknownName
from oncoseg.evaluate import evaluate
from oncoseg.evaluate.table import Evaluation, Row
from oncoseg.read import find
from oncoseg.write import write_volume

SHAPE = (12, 10, 8)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
TASK = Task("toy", ("t1",), {"rim": 1, "core": 2}, {"whole": ("rim", "core"), "core": ("core",)})
PLAIN = {"whole": (1, 2), "core": (2,)}


def labels(start=2, core=True):
    """A box of 6 x 4 x 4 voxels from `start` on, with a core of 2 x 2 x 2: 96 and 8 voxels."""
    label = np.zeros(SHAPE, np.uint8)
    label[start : start + 6, 2:6, 2:6] = 1
    if core:
        label[start + 2 : start + 4, 3:5, 3:5] = 2
    return label


def save(folder, case, label, *, grid=GRID, task=TASK):
    empty = np.zeros((len(task.regions), *label.shape), np.float16)
    return results.save(Prediction(case, task, grid, label, empty, ("t1",)), folder)


def dataset(folder, cases, *, grid=GRID):
    """A folder a case, with an image and a label map."""
    for case, label in cases.items():
        write_volume(folder / case / "t1.nii.gz", label.astype(np.float32) * 7, grid)
        write_volume(folder / case / "label.nii.gz", label, grid)
    return folder


@pytest.fixture
def world(tmp_path):
    """Two predicted cases, `a` exact and `b` shifted by two voxels, with their truth."""
    for case, start in (("a", 2), ("b", 4)):
        save(tmp_path / "out", case, labels(start))
    return tmp_path / "out", dataset(tmp_path / "truth", {"a": labels(), "b": labels()})


def value(evaluation, case, region, metric):
    (row,) = [
        row
        for row in evaluation.rows
        if (row.case, row.region, row.metric) == (case, region, metric)
    ]
    return row


def test_records_and_a_data_set(world):
    evaluation = evaluate(*world)
    assert len(evaluation.rows) == 2 * 2 * 5
    assert {row.status for row in evaluation.rows} == {"ok"}
    assert value(evaluation, "a", "whole", "dice").value == 1
    shifted = value(evaluation, "b", "whole", "dice")
    assert shifted.value == pytest.approx(4 / 6)
    assert shifted.true_ml == pytest.approx(96 * 2 / 1000)
    assert value(evaluation, "b", "core", "dice").value == 0
    assert value(evaluation, "b", "core", "hd95").value == 2
    assert evaluation.mean("whole", "dice") == pytest.approx((1 + 4 / 6) / 2)


def test_folders_of_label_maps_with_regions_and_without(world, tmp_path):
    records, truth = world
    plain, known = tmp_path / "läbel maps", tmp_path / "known"
    for case in ("a", "b"):
        plain.mkdir(exist_ok=True)
        known.mkdir(exist_ok=True)
        shutil.copy(records / f"{case}.nii.gz", plain)
        shutil.copy(truth / case / "label.nii.gz", known / f"{case}_seg.nii.gz")
    expected = evaluate(*world).as_dict()["rows"]
    assert evaluate(plain, truth, regions=PLAIN).as_dict()["rows"] == expected
    assert evaluate(plain, known, regions=PLAIN).as_dict()["rows"] == expected
    numbered = evaluate(plain, known, metrics=("dice",))
    assert {row.region for row in numbered.rows} == {"1", "2"}
    assert numbered.mean("2", "dice") == 1 / 2


def test_a_missing_case_is_the_worst_and_no_reason_for_a_better_mean(world, tmp_path):
    out, truth = world
    dataset(truth, {"c": labels()})
    before = {metric: evaluate(out, truth).mean("whole", metric) for metric in ("dice", "hd95")}
    evaluation = evaluate(out, truth)
    row = value(evaluation, "c", "whole", "hd95")
    assert row.status == "missing"
    assert row.value == pytest.approx(math.sqrt(12**2 + 10**2 + 16**2))
    assert math.isnan(row.predicted_ml)
    assert row.true_ml == pytest.approx(0.192)
    assert value(evaluation, "c", "whole", "dice").value == 0
    # The farthest volume from 96 of 960 voxels is all of them: 864 voxels, 900 %.
    assert value(evaluation, "c", "whole", "volume_difference").value == pytest.approx(1.728)
    assert value(evaluation, "c", "whole", "relative_volume_difference").value == pytest.approx(900)
    assert evaluation.mean("whole", "dice") == pytest.approx((1 + 4 / 6 + 0) / 3)
    assert evaluation.notes == (
        "Without a prediction, counted as the worst value of each metric: c.",
    )
    assert "1 missing or failed" in evaluation.table()
    # Predicting an empty mask instead can only be better.
    save(out, "c", np.zeros(SHAPE, np.uint8))
    after = evaluate(out, truth)
    assert after.mean("whole", "dice") == before["dice"]
    assert after.mean("whole", "hd95") == before["hd95"]


@pytest.mark.parametrize("lost", ["prediction", "truth", "record"])
def test_a_broken_file_fails_its_case_alone_and_counts_as_the_worst(world, lost):
    out, truth = world
    broken = {
        "prediction": out / "b.nii.gz",
        "truth": truth / "b" / "label.nii.gz",
        "record": out / "b.json",
    }[lost]
    broken.write_bytes(broken.read_bytes()[:-20])
    evaluation = evaluate(out, truth)
    row = value(evaluation, "b", "whole", "dice")
    assert row.status.startswith("failed: ")
    assert broken.name in row.status
    assert row.value == 0
    assert evaluation.mean("whole", "dice") == 1 / 2
    assert value(evaluation, "a", "whole", "dice").value == 1
    assert any(broken.name in note for note in evaluation.notes)
    worst = value(evaluation, "b", "whole", "hd95").value
    assert worst == pytest.approx(math.sqrt(12**2 + 10**2 + 16**2))
    assert math.isnan(row.true_ml) == (lost == "truth")


def test_a_case_broken_on_both_sides_still_counts(world):
    out, truth = world
    save(out, "a", labels(4))
    for path in (out / "b.nii.gz", truth / "b" / "label.nii.gz"):
        path.write_bytes(b"")
    evaluation = evaluate(out, truth)
    assert value(evaluation, "b", "whole", "dice").value == 0
    assert value(evaluation, "b", "whole", "hd95").value == 2  # no grid: as bad as the worst other
    assert evaluation.as_dict()["rows"][-1]["true_ml"] is None


def test_a_prediction_without_a_truth_is_named_and_left_out(world):
    out, truth = world
    save(out, "z", labels())
    evaluation = evaluate(out, truth)
    row = value(evaluation, "z", "whole", "dice")
    assert row.status == "no truth"
    assert math.isnan(row.value)
    assert row.predicted_ml == pytest.approx(0.192)
    assert [(one.n, one.undefined) for one in evaluation.summary if one.metric == "dice"] == [
        (2, 0),
        (2, 0),
    ]
    assert evaluation.notes == ("Without a truth, left out of the means: z.",)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (Grid((12, 10, 9), GRID.affine), "12x10x8 and 12x10x9 voxels"),
        (Grid(SHAPE, np.diag([1.0, 1.0, 2.5, 1.0])), "up to 3.5 mm apart"),
        (Grid(SHAPE, np.diag([-1.0, 1.0, 2.0, 1.0])), "up to 22 mm apart"),
    ],
)
def test_on_other_grids_nothing_is_resampled_all_is_worst(tmp_path, grid, sentence):
    label = np.pad(labels(), [(0, grid.shape[axis] - SHAPE[axis]) for axis in range(3)])
    save(tmp_path / "out", "a", labels())
    dataset(tmp_path / "truth", {"a": label}, grid=grid)
    evaluation = evaluate(tmp_path / "out", tmp_path / "truth")
    assert re.match(f"failed: .*different grids: .*{sentence}", evaluation.failed["a"])
    assert evaluation.mean("whole", "dice") == 0
    assert evaluation.mean("whole", "hd95") >= math.sqrt(12**2 + 10**2 + 16**2) - 1e-9


def test_of_several_label_maps_the_one_on_the_grid_of_the_prediction_is_taken(tmp_path):
    coarse = Grid((6, 5, 4), np.diag([2.0, 2.0, 4.0, 1.0]))
    folder = tmp_path / "truth" / "a"
    for name, label, grid in (("ct", labels()[::2, ::2, ::2], coarse), ("t1", labels(), GRID)):
        write_volume(folder / f"{name}.nii.gz", label.astype(np.float32), grid)
        write_volume(folder / f"{name}_mask.nii.gz", label, grid)
    assert len(find(tmp_path / "truth").sources[0].labels) == 2
    save(tmp_path / "out", "a", labels())
    evaluation = evaluate(tmp_path / "out", tmp_path / "truth", metrics=("dice",))
    assert evaluation.mean("core", "dice") == 1


@pytest.mark.parametrize("side", ["truth", "prediction"])
def test_labels_that_no_region_knows_are_refused(tmp_path, side):
    odd = labels()
    odd[0, 0, :2] = 5, 9
    save(tmp_path / "out", "a", odd if side == "prediction" else labels())
    dataset(tmp_path / "truth", {"a": odd if side == "truth" else labels()})
    told = f"the {side} .* holds the label 5, 9"
    if side == "prediction":
        evaluation = evaluate(tmp_path / "out", tmp_path / "truth")
        assert re.match(f"failed: {told}", evaluation.failed["a"])
        assert evaluation.mean("core", "dice") == 0
    else:  # without any truth nothing can be said
        with pytest.raises(BadData, match=f"case a: {told}"):
            evaluate(tmp_path / "out", tmp_path / "truth")


def test_voxels_to_be_ignored_belong_to_no_mask(tmp_path):
    """An nnU-Net data set whose dataset.json has a label `ignore`."""
    truth, known = tmp_path / "Dataset001_Toy", labels()
    known[0:2] = 3
    write_volume(truth / "imagesTr" / "a_0000.nii.gz", labels().astype(np.float32), GRID)
    write_volume(truth / "labelsTr" / "a.nii.gz", known, GRID)
    names = {"background": 0, "rim": 1, "core": 2, "ignore": 3}
    files.write_json(
        truth / "dataset.json",
        {"channel_names": {"0": "T1"}, "labels": names, "numTraining": 1, "file_ending": ".nii.gz"},
    )
    predicted = labels()
    predicted[0:2] = 1
    save(tmp_path / "out", "a", predicted)
    evaluation = evaluate(tmp_path / "out", truth, metrics=("dice",))
    assert evaluation.mean("whole", "dice") == 1
    assert any("label 3" in note and "ignored" in note for note in evaluation.notes)


def test_records_of_two_tasks_are_refused(world):
    out, truth = world
    other = Task("toy", ("t1",), {"rim": 1, "core": 2}, {"core": ("core",)})
    save(out, "b", labels(), task=other)
    with pytest.raises(BadData, match="cases a and b have other labels or regions"):
        evaluate(out, truth)


def test_what_cannot_be_asked_is_said(world, tmp_path):
    out, truth = world
    with pytest.raises(UnknownName, match="did you mean dice"):
        evaluate(out, truth, metrics=("dise",))
    with pytest.raises(BadOption, match="no metric"):
        evaluate(out, truth, metrics=())
    with pytest.raises(BadOption, match="samples"):
        evaluate(out, truth, samples=-1)
    for sides in ((tmp_path / "nowhere", truth), (out, tmp_path / "nowhere")):
        with pytest.raises(BadData, match="nowhere: does not exist"):
            evaluate(*sides)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="holds no prediction"):
        evaluate(tmp_path / "empty", truth)
    with pytest.raises(BadData, match=r"no case is in both; cases here are a, b, those in .* q"):
        evaluate(out, dataset(tmp_path / "others", {"q": labels()}))
    evaluation = evaluate(out, truth, metrics=("dice",))
    with pytest.raises(UnknownName, match="no region 'hole'; did you mean whole"):
        evaluation.mean("hole", "dice")
    with pytest.raises(UnknownName, match="no metric 'hd95'; there are dice"):
        evaluation.mean("whole", "hd95")


def test_options_of_metrics_are_part_of_their_name(world):
    evaluation = evaluate(*world, metrics=("nsd", "nsd:tolerance_mm=2"))
    assert evaluation.mean("core", "nsd") < evaluation.mean("core", "nsd:tolerance_mm=2") == 1


def test_two_dimensions_say_how_areas_become_volumes(tmp_path):
    grid, label = Grid((12, 10), np.diag([0.5, 0.5, 1.0])), labels()[:, :, 3]
    task = Task("toy", ("t1",), TASK.labels, TASK.regions, (1.0,) * 2, (8,) * 2)
    save(tmp_path / "out", "a", label, grid=grid, task=task)
    write_volume(tmp_path / "truth" / "a.nii.gz", label, grid)
    evaluation = evaluate(tmp_path / "out", tmp_path / "truth")
    assert value(evaluation, "a", "whole", "hd95").true_ml == pytest.approx(24 * 0.25 / 1000)
    assert any("1 mm thick" in note for note in evaluation.notes)


def test_a_sheared_grid_has_volumes_but_no_distances(tmp_path):
    affine = GRID.affine.copy()
    affine[1, 2] = 0.7
    save(tmp_path / "out", "a", labels(), grid=Grid(SHAPE, affine))
    dataset(tmp_path / "truth", {"a": labels()}, grid=Grid(SHAPE, affine))
    evaluation = evaluate(tmp_path / "out", tmp_path / "truth", metrics=("dice", "hd95"))
    distance = value(evaluation, "a", "whole", "hd95")
    assert math.isnan(distance.value)
    assert distance.status.startswith("undefined: on a grid whose axes are not at right angles")
    assert list(evaluation.failed) == ["a"]
    assert [(one.n, one.undefined, one.failed) for one in evaluation.summary] == [
        (1, 0, 0),
        (0, 1, 0),
    ] * 2
    assert any("Case a: on a grid whose axes" in note for note in evaluation.notes)
    assert value(evaluation, "a", "whole", "dice").true_ml == pytest.approx(0.192)


def test_what_is_written_is_whole_plain_and_no_formula(world, tmp_path):
    out, truth = world
    save(out, "=1+1", labels())
    dataset(truth, {"=1+1": labels(), "c": labels()})
    evaluation = evaluate(out, truth, metrics=("dice", "sensitivity"))
    written = evaluation.write(tmp_path / "scores")
    assert [path.name for path in written] == ["evaluation.json", "cases.csv", "summary.csv"]
    data = json.loads(written[0].read_text(encoding="utf-8"))
    assert data == evaluation.as_dict()
    assert data["metrics"]["dice"]["empty"].startswith("1 if both are empty")
    with written[1].open(encoding="utf-8", newline="") as handle:
        cases = list(csv.DictReader(handle))
    assert len(cases) == len(evaluation.rows)
    assert {row["case"] for row in cases} == {"'=1+1", "a", "b", "c"}
    assert [row["predicted_ml"] for row in cases if row["case"] == "c"] == [""] * 4
    with written[2].open(encoding="utf-8", newline="") as handle:
        means = {(row["region"], row["metric"]): row["mean"] for row in csv.DictReader(handle)}
    assert float(means["whole", "dice"]) == evaluation.mean("whole", "dice")
    assert b"\r" not in written[1].read_bytes()


def test_the_table_is_aligned_and_says_which_way_is_better(world):
    lines = evaluate(*world, metrics=("dice", "hd95")).table().splitlines()
    assert lines[0].split()[:3] == ["region", "metric", "mean"]
    assert lines[1].startswith("whole   dice ↑")
    assert "hd95 mm ↓" in lines[2]
    assert "0.667 (b)" in lines[1]
    column = lines[0].index("worst")
    assert {line[column - 2 : column] for line in lines[:5]} == {"  "}


def rows_of(values, metric="dice"):
    return [
        Row(f"c{index}", patient, "r", metric, one, status, 1.0, 1.0)
        for index, (patient, one, status) in enumerate(values)
    ]


def summary_of(values, *, higher=True, **options):
    described = {"dice": {"unit": "", "higher": higher, "empty": ""}}
    return Evaluation.of(rows_of(values), described, **options).summary[0]


def test_undefined_values_are_counted_and_not_averaged():
    found = summary_of([("p", 0.5, "ok"), ("q", math.nan, "ok"), ("r", 0.7, "ok")])
    assert (found.mean, found.n, found.undefined) == (pytest.approx(0.6), 2, 1)
    assert (found.worst, found.worst_case) == (0.5, "c0")
    nothing = summary_of([("p", math.nan, "ok")])
    assert math.isnan(nothing.mean)
    assert (nothing.n, nothing.undefined, nothing.worst_case) == (0, 1, "")


def test_without_a_grid_a_failed_case_is_as_bad_as_the_worst_other():
    found = summary_of([("p", 2, "ok"), ("q", 9, "ok"), ("r", math.inf, "failed: x")], higher=False)
    assert found.mean == pytest.approx(20 / 3)
    assert (found.n, found.failed, found.worst) == (3, 1, 9)


def test_intervals_are_over_patients_seeded_and_of_the_size_of_the_standard_error():
    generator = np.random.default_rng(1)
    values = generator.normal(0.8, 0.1, 400)
    each = [f"p{index}" for index in range(400)]
    low, high = interval(values, each, samples=2000, seed=0)
    assert (low, high) == interval(values, each, samples=2000, seed=0)
    assert (low, high) != interval(values, each, samples=2000, seed=1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    # Four equal cases a patient know no more than one: counted as 400 patients they would.
    repeated, owners = np.repeat(values[:100], 4), np.repeat(each[:100], 4)
    clustered = interval(repeated, owners, samples=2000, seed=0)
    single = interval(values[:100], each[:100], samples=2000, seed=0)
    assert np.ptp(clustered) == pytest.approx(np.ptp(single), rel=1e-9)
    assert np.ptp(interval(repeated, each, samples=2000, seed=0)) < 0.6 * np.ptp(single)


def test_one_patient_has_no_interval(tmp_path):
    save(tmp_path / "out", "sub-01_ses-1", labels())
    save(tmp_path / "out", "sub-01_ses-2", labels(4))
    for case in ("sub-01_ses-1", "sub-01_ses-2"):
        write_volume(tmp_path / "truth" / f"{case}.nii.gz", labels(), GRID)
    evaluation = evaluate(tmp_path / "out", tmp_path / "truth", metrics=("dice",))
    assert {row.patient for row in evaluation.rows} == {"sub-01"}
    assert math.isnan(evaluation.summary[0].low)
    assert any("no intervals" in note for note in evaluation.notes)
    assert evaluation.as_dict()["summary"][0]["low"] is None


def test_real_tumours_in_several_grids(data, tmp_path):
    """A mask in each modality's own grid: the one on the grid of the prediction is found."""
    folder = data / "sts_petctmr"
    source = next(source for source in find(folder).sources if len(source.labels) == 3)
    path = source.labels["ct"]
    (tmp_path / "out").mkdir()
    shutil.copy(path, tmp_path / "out" / f"{source.case}{layouts.ending(path)}")
    evaluation = evaluate(tmp_path / "out", folder, regions={"tumour": (1,)}, samples=10)
    assert value(evaluation, source.case, "tumour", "dice").value == 1
    assert {row.status for row in evaluation.rows if row.case != source.case} == {"missing"}
