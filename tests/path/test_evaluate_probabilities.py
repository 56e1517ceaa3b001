"""Probability maps beside predictions: found, checked, and counted in bins over all cases."""

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, build, results
from oncoseg.errors import BadData, BadOption
from oncoseg.evaluate import evaluate
from oncoseg.write import write_volume

SHAPE = (8, 7, 6)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
TASK = Task("toy", ("t1",), {"rim": 1, "core": 2}, {"rim": ("rim",), "core": ("core",)})
NAMES = ("dice", "ece:bins=10", "mce", "brier", "nll")


def truth_label():
    made = np.zeros(SHAPE, np.uint8)
    made[2:6, 2:5, 2:4] = 1
    made[3:5, 3, 2:4] = 2
    return made


def claimed(seed):
    """Probabilities of both regions in steps of 1/255."""
    generator = np.random.default_rng(seed)
    truth = np.stack([truth_label() == value for value in (1, 2)])
    return np.round(255 * np.clip(0.8 * truth + 0.3 * generator.random(truth.shape), 0, 1)) / 255


def world(folder, cases=("a", "b")):
    for seed, case in enumerate(cases):
        found = Prediction(case, TASK, GRID, truth_label(), claimed(seed), ("t1",))
        results.save(found, folder / "out", probabilities=True)
        write_volume(folder / "truth" / f"{case}.nii.gz", truth_label(), GRID)
    return folder / "out", folder / "truth"


def value(evaluation, case, metric, region="rim"):
    (row,) = [
        row
        for row in evaluation.rows
        if (row.case, row.region, row.metric) == (case, region, metric)
    ]
    return row


def test_values_are_those_of_the_metrics_themselves(tmp_path):
    evaluation = evaluate(*world(tmp_path), metrics=NAMES)
    for seed, case in enumerate("ab"):
        for place, region in enumerate(("rim", "core")):
            truth, probability = truth_label() == place + 1, claimed(seed)[place]
            assert value(evaluation, case, "dice", region).value == 1
            for name in NAMES[1:]:
                expected = build("metrics", name)(probability, truth, GRID.spacing)
                assert value(evaluation, case, name, region).value == pytest.approx(expected)
    metrics = [row.metric for row in evaluation.rows[: len(NAMES)]]
    assert metrics == list(NAMES)


def test_the_bins_of_all_cases_are_in_the_json(tmp_path):
    evaluation = evaluate(*world(tmp_path), metrics=("brier",), to=tmp_path / "scores")
    bins = evaluation.as_dict()["reliability"]["core"]
    seen = np.concatenate([claimed(seed)[1].ravel() for seed in (0, 1)])
    truth = np.tile((truth_label() == 2).ravel(), 2)
    assert sum(one["voxels"] for one in bins) == len(seen)
    for one in bins:
        inside = (seen > one["low"] + 1e-6) & (seen <= one["high"] + 1e-6)
        inside |= (seen == 0) & (one["low"] == 0)
        assert one["voxels"] == inside.sum()
        assert one["claimed"] == pytest.approx(seen[inside].mean(), abs=1e-6)
        assert one["came_true"] == pytest.approx(truth[inside].mean())
    folders = tmp_path / "out", tmp_path / "truth"
    again = evaluate(*folders, metrics=("brier",), to=tmp_path / "scores")
    assert again.as_dict() == evaluation.as_dict()
    assert "reliability" not in evaluate(*folders).as_dict()


def test_without_maps_it_is_refused_before_any_work(tmp_path):
    out, truth = world(tmp_path)
    (out / "b.probability.core.nii.gz").unlink()
    with pytest.raises(BadData, match=r"b\.probability\.core.*is not there, but ece, nll need it"):
        evaluate(out, truth, metrics=("dice", "ece", "nll"))
    assert evaluate(out, truth, metrics=("dice",)).mean("core", "dice") == 1
    with pytest.raises(BadOption, match="need probabilities"):
        evaluate(truth_label(), truth_label(), spacing=GRID.spacing, metrics=("ece",))


@pytest.mark.parametrize(
    ("array", "grid", "sentence"),
    [
        (np.zeros((8, 7, 5), np.uint8), Grid((8, 7, 5), GRID.affine), "on another grid"),
        (truth_label() == 2, GRID, "it is a mask"),
        (np.full(SHAPE, 1.5, np.float32), GRID, "outside 0 to 1"),
        (np.full(SHAPE, 300, np.int16), GRID, "int16, no probability"),
    ],
)
def test_a_map_that_is_none_fails_its_case_alone(tmp_path, array, grid, sentence):
    out, truth = world(tmp_path)
    array = array.astype(np.uint8) if array.dtype == bool else array
    write_volume(out / "b.probability.core.nii.gz", array, grid)
    evaluation = evaluate(out, truth, metrics=NAMES)
    row = value(evaluation, "b", "brier", "core")
    assert row.value == 1
    assert sentence in row.status
    assert value(evaluation, "b", "dice", "core").value == 0
    assert list(evaluation.failed) == ["b"]
    assert value(evaluation, "a", "dice", "core").value == 1


def test_voxels_to_be_ignored_do_not_count_and_floats_are_read_as_they_are(tmp_path):
    """Label maps alone, whose probability maps are no cases of their own."""
    out, truth = tmp_path / "out", tmp_path / "truth"
    true = truth_label()
    write_volume(truth / "a.nii.gz", true, GRID)
    write_volume(out / "a.nii.gz", true, GRID)
    write_volume(out / "a.probability.all.nii.gz", ((true > 0) * 0.75).astype(np.float32), GRID)
    evaluation = evaluate(out, truth, metrics=("brier",), regions={"all": (1, 2)})
    assert {row.case for row in evaluation.rows} == {"a"}
    assert evaluation.mean("all", "brier") == pytest.approx(24 * 0.0625 / true.size)
