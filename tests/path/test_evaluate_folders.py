"""Large folders: one bad case is one bad case, a killed run goes on, memory stays bounded."""

import json
import threading
import tracemalloc

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, results
from oncoseg import evaluate as verb
from oncoseg.__main__ import call
from oncoseg.errors import BadData
from oncoseg.evaluate import evaluate, stream
from oncoseg.evaluate.kept import NAME
from oncoseg.write import write_volume

SHAPE = (6, 5, 4)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
TASK = Task("toy", ("t1",), {"rim": 1, "core": 2}, {"whole": ("rim", "core"), "core": ("core",)})


def label(start=1):
    made = np.zeros(SHAPE, np.uint8)
    made[start : start + 3, 1:4, 1:3] = 1
    made[start + 1, 2, 1:3] = 2
    return made


def save(folder, case, array, grid=GRID):
    empty = np.zeros((2, *array.shape), np.float16)
    return results.save(Prediction(case, TASK, grid, array, empty, ("t1",)), folder)


def world(folder, count, shifted=()):
    """`count` cases, predicted exactly but for the `shifted` ones, and their truth."""
    for number in range(count):
        case = f"c{number:04}"
        save(folder / "out", case, label(2 if number in shifted else 1))
        write_volume(folder / "truth" / f"{case}.nii.gz", label(), GRID)
    return folder / "out", folder / "truth"


def dice(evaluation, case):
    (row,) = [
        row
        for row in evaluation.rows
        if (row.case, row.region, row.metric) == (case, "whole", "dice")
    ]
    return row


BREAK = {
    "is cut": lambda out: (out / "c0001.nii.gz").write_bytes(
        (out / "c0001.nii.gz").read_bytes()[:-9]
    ),
    "on different grids": lambda out: save(
        out, "c0001", label(), Grid(SHAPE, np.diag([1.0, 1.0, 2.5, 1.0]))
    ),
    "6x5x4 voxels": lambda out: save(
        out, "c0001", np.pad(label(), [(0, 1), (0, 0), (0, 0)]), Grid((7, 5, 4), GRID.affine)
    ),
    "holds the label 5": lambda out: save(out, "c0001", np.where(label() == 1, 5, 0)),
}


@pytest.mark.parametrize("fault", BREAK)
def test_a_case_that_cannot_be_compared_counts_as_the_worst_and_the_others_finish(tmp_path, fault):
    out, truth = world(tmp_path, 3, shifted=(0,))
    BREAK[fault](out)
    evaluation = evaluate(out, truth, metrics=("dice", "hd95"))
    row = dice(evaluation, "c0001")
    assert row.status.startswith("failed: ")
    assert row.value == 0
    assert list(evaluation.failed) == ["c0001"]
    if fault != "is cut":
        assert fault in row.status
    assert dice(evaluation, "c0002").value == 1
    assert evaluation.mean("whole", "dice") == pytest.approx((12 / 18 + 0 + 1) / 3)
    said = [note for note in evaluation.notes if "Case c0001 failed" in note]
    assert len(said) == 1
    assert "counts as the worst" in said[0]


@pytest.mark.parametrize("lost", ["labels", "records", "one record"])
def test_a_submission_of_which_every_case_is_bad_has_the_worst_of_all(tmp_path, lost):
    out, truth = world(tmp_path, 2)
    for case in ("c0000", "c0001"):
        if lost != "one record" or case == "c0000":
            path = out / f"{case}{'.nii.gz' if lost == 'labels' else '.json'}"
            path.write_bytes(path.read_bytes()[:-9])
        else:
            (out / f"{case}.nii.gz").unlink()
    regions = {"whole": (1, 2)}
    if lost == "records":  # which say what the regions are
        with pytest.raises(BadData, match=r"c0000\.json"):
            evaluate(out, truth)
    evaluation = evaluate(out, truth, metrics=("dice", "hd95"), regions=regions)
    assert list(evaluation.failed) == ["c0000", "c0001"]
    assert evaluation.mean("whole", "dice") == 0
    assert evaluation.mean("whole", "hd95") == pytest.approx(np.sqrt(6**2 + 5**2 + 8**2))
    assert [(one.n, one.failed) for one in evaluation.summary] == [(2, 2)] * 2
    for path in truth.iterdir():
        path.write_bytes(b"")
    with pytest.raises(BadData, match="no case could be compared; case c0000"):
        evaluate(out, truth, regions=regions)


def test_if_no_truth_is_known_something_else_is_wrong(tmp_path):
    out, truth = world(tmp_path, 2)
    with pytest.raises(BadData, match=r"no case could be compared; case c0000: .* label 2"):
        evaluate(*maps(out, truth), regions={"rim": (1,)})


def maps(out, truth):
    """The predictions as label maps alone."""
    for record in out.glob("*.json"):
        record.unlink()
    return out, truth


def test_regions_need_not_name_every_label_of_a_record(tmp_path):
    out, truth = world(tmp_path, 2)
    assert evaluate(out, truth, metrics=("dice",), regions={"rim": (1,)}).mean("rim", "dice") == 1


def test_the_command_fails_if_a_case_did(tmp_path, capsys):
    out, truth = world(tmp_path, 2)
    words = ["evaluate", str(out), str(truth), "--metrics", "dice"]
    assert call(words) == 0
    (out / "c0001.json").unlink()
    assert call(words) == 1
    (truth / "c0001.nii.gz").unlink()
    save(out, "c0001", label())
    assert call(words) == 0  # without a truth nothing is wrong with the prediction
    assert call([*words, "--regions", "all=1,2"]) == 0
    assert "all" in capsys.readouterr().out


def test_a_case_on_a_sheared_grid_ends_no_batch(tmp_path, capsys):
    """Its distances are undefined whatever is predicted, also if nothing is."""
    out, truth = world(tmp_path, 3, shifted=(0,))
    sheared = GRID.affine.copy()
    sheared[1, 2] = 0.7
    write_volume(truth / "c0001.nii.gz", label(), Grid(SHAPE, sheared))
    save(out, "c0001", label(2), Grid(SHAPE, sheared))
    words = ["evaluate", str(out), str(truth), "--metrics", "dice,hd95"]
    assert call(words) == 1
    assert "Case c0001: on a grid whose axes are not at right angles" in capsys.readouterr().out
    for lost in (False, True):
        if lost:
            (out / "c0001.json").unlink()
        evaluation = evaluate(out, truth, metrics=("dice", "hd95"))
        assert list(evaluation.failed) == ["c0001"]
        dices, distances = evaluation.summary[:2]
        assert (dices.n, dices.undefined, dices.failed) == (3, 0, int(lost))
        assert (distances.n, distances.undefined) == (2, 1)
        assert dice(evaluation, "c0001").value == (0 if lost else pytest.approx(12 / 18))
        assert evaluation.mean("whole", "hd95") == pytest.approx(1 / 2)


@pytest.fixture
def compared(monkeypatch):
    """Names of the cases that were compared rather than remembered."""
    seen = []
    measure = verb._compared

    def counting(case, *others):
        seen.append(case)
        return measure(case, *others)

    monkeypatch.setattr(verb, "_compared", counting)
    return seen


def test_a_killed_run_goes_on_from_there_and_ends_the_same(tmp_path, compared, monkeypatch):
    out, truth = world(tmp_path, 8, shifted=(1, 6))
    whole = evaluate(out, truth).as_dict()
    compared.clear()
    counting = verb._compared

    def killed(case, *others):
        if case == "c0005":
            raise KeyboardInterrupt
        return counting(case, *others)

    monkeypatch.setattr(verb, "_compared", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(out, truth, to=tmp_path / "scores")
    finished = set(compared)
    assert {"c0000", "c0001"} <= finished
    assert not (tmp_path / "scores" / "evaluation.json").exists()
    compared.clear()
    monkeypatch.setattr(verb, "_compared", counting)
    assert evaluate(out, truth, to=tmp_path / "scores").as_dict() == whole
    assert set(compared) == {f"c{number:04}" for number in range(8)} - finished
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text()) == whole
    compared.clear()
    assert evaluate(out, truth, to=tmp_path / "scores").as_dict() == whole
    assert compared == []


def test_torn_and_damaged_lines_are_compared_again(tmp_path, compared):
    out, truth = world(tmp_path, 4, shifted=(3,))
    to = tmp_path / "scores"
    whole = evaluate(out, truth, to=to).as_dict()
    path = to / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    path.write_bytes(
        lines[0] + b"\x00\xff{}\n" + lines[1].replace(b'"key"', b'"kex"') + lines[2][:-30]
    )
    compared.clear()
    assert evaluate(out, truth, to=to).as_dict() == whole
    assert len(compared) == 3  # lines 1 and 2 are damaged, line 3 is gone
    compared.clear()
    assert evaluate(out, truth, to=to).as_dict() == whole
    assert compared == []


@pytest.mark.parametrize("change", ["prediction", "truth", "metric", "option", "region", "case"])
def test_what_changed_is_compared_again(tmp_path, compared, change):
    out, truth = world(tmp_path, 2)
    to, asked = tmp_path / "scores", {"metrics": ("dice", "nsd")}
    evaluate(out, truth, to=to, **asked)
    compared.clear()
    again = {"c0000", "c0001"}
    if change == "prediction":
        again = {save(out, "c0001", label(2)).stem}
    elif change == "truth":
        write_volume(truth / "c0001.nii.gz", label(2), GRID)
        again = {"c0001"}
    elif change == "case":
        save(out, "c0002", label())
        write_volume(truth / "c0002.nii.gz", label(), GRID)
        again = {"c0002"}
    elif change == "region":
        asked["regions"] = {"whole": (1,), "core": (2,)}
    else:
        asked["metrics"] = ("dice", "nsd:tolerance_mm=2") if change == "option" else ("dice",)
    found = evaluate(out, truth, to=to, **asked)
    assert set(compared) == again
    assert found.as_dict() == evaluate(out, truth, **asked).as_dict()


def test_what_failed_is_tried_again(tmp_path, compared):
    out, truth = world(tmp_path, 2)
    good = (out / "c0001.nii.gz").read_bytes()
    (out / "c0001.nii.gz").write_bytes(good[:-9])
    to = tmp_path / "scores"
    assert evaluate(out, truth, to=to).failed
    (out / "c0001.nii.gz").write_bytes(good)
    compared.clear()
    assert not evaluate(out, truth, to=to).failed
    assert compared == ["c0001"]


def test_never_far_ahead_of_what_is_taken():
    begun, gate = [], threading.Event()
    found = stream.streamed(lambda one: begun.append(one) or one, range(1000), title="x")
    assert next(found) == 0
    gate.wait(0.2)
    assert len(begun) <= stream.AHEAD * stream.THREADS
    assert list(found) == list(range(1, 1000))
    assert len(begun) == 1000


@pytest.mark.slow
def test_a_thousand_cases_in_the_memory_of_a_few(tmp_path):
    """Rows are kept, voxels are not: ten times the cases need no ten times the memory."""
    out, truth = world(tmp_path, 1000, shifted=(7,))
    (out / "c0500.nii.gz").write_bytes(b"corrupt")
    tracemalloc.start()
    evaluation = evaluate(out, truth, metrics=("dice",), to=tmp_path / "scores")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(evaluation.failed) == ["c0500"]
    assert evaluation.mean("whole", "dice") == pytest.approx((998 + 12 / 18) / 1000)
    assert peak < 40e6
    assert len((tmp_path / "scores" / NAME).read_text().splitlines()) == 999
