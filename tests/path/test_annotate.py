"""The loop learns from boxes alone, asks, and goes on from where it was stopped."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from oncoseg import annotate as module
from oncoseg import checkpoint, registry
from oncoseg.__main__ import call
from oncoseg.annotate import Asking, Pool, annotate, annotated, aubc, shown, start
from oncoseg.case import Box
from oncoseg.errors import BadData, BadRun, UnknownName
from oncoseg.model import open_model
from oncoseg.parts import Wanted
from oncoseg.prepare import Plan, open_store
from oncoseg.run import Run
from oncoseg.sample import Sampler
from oncoseg.train import prepared
from runs import toy_data, toy_run


def world(folder, dims=2, count=5, **options):
    task, _ = toy_data(folder / "data", 3, count, dims=dims, size=24, **options)
    return toy_run(
        folder,
        task,
        to=str(folder / "loop é" / "model.onco"),
        augmentations=("spatial:probability=0",),
        folds=count,
        steps=8,
        rate=1e-2,
        average=0.5,
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A prepared toy world, its plan and its cases."""
    store = prepared(world(tmp_path_factory.mktemp("stored")))
    return Plan.read(store / "plan.json"), open_store(store)


ASKING = Asking(rounds=3, count=6, size=(6, 6))


def lines(run):
    text = (module.Path(run.to).parent / "rounds.jsonl").read_text(encoding="utf-8")
    return [
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in text.splitlines()
    ]


def boxes(rows):
    return [Box(case, tuple(first), tuple(last)) for case, first, last in rows]


@pytest.mark.parametrize(("query", "models"), [("clasp_pe", 1), ("foreground_random", 2)])
def test_each_round_learns_from_more_boxes_and_is_written_down(tmp_path, query, models):
    run = world(tmp_path)
    summary = annotate(run, replace(ASKING, query=query, models=models))
    found = lines(run)
    assert [line["round"] for line in found] == [0, 1, 2]
    assert [line["annotated"] for line in found] == [6 * 36, 12 * 36, 18 * 36]
    assert 0 < found[0]["foreground"] <= found[1]["foreground"] <= found[2]["foreground"]
    assert [len(line["next"]) for line in found] == [6, 6, 0]
    assert found[1]["boxes"] == found[0]["next"]
    assert summary["aubc"] == aubc([line["mean"] for line in found])
    assert summary["final"] == found[-1]["mean"]
    everything = [box for line in found for box in boxes(line["boxes"])]
    assert not any(a.overlaps(b) for i, a in enumerate(everything) for b in everything[:i])
    folder = tmp_path / "loop é"
    assert not list(folder.glob("round_*")), "checkpoints of finished rounds are removed"
    model = folder / ("model.onco" if models == 1 else "model_1.onco")
    assert open_model(model).card["rounds"] == 3


def test_a_loop_that_was_stopped_ends_as_the_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "save_model", lambda *_, **__: None)  # another test reads the model
    whole = world(tmp_path / "whole")
    annotate(whole, ASKING)
    run = world(tmp_path / "stopped")
    for stop in ("asked", "measured", "save"):  # while asking, before the query, while training
        with monkeypatch.context() as patch:
            _interrupt(patch, stop)
            with pytest.raises(KeyboardInterrupt):
                annotate(run, ASKING, resume=stop != "asked")
    annotate(run, ASKING, resume=True)
    assert lines(run) == lines(whole)
    again = annotate(run, ASKING, resume=True)
    assert [row["round"] for row in again["rounds"]] == [0, 1, 2]


def _interrupt(patch, what):
    def stop(*_, **__):
        raise KeyboardInterrupt

    real = checkpoint.save

    def after(path, modules, optimiser, progress):
        real(path, modules, optimiser, progress)
        if progress.step >= 4:
            raise KeyboardInterrupt

    if what == "save":
        patch.setattr(checkpoint, "save", after)
    else:
        patch.setattr(Pool, what, stop)


def test_another_loop_in_the_same_folder_is_refused(tmp_path):
    run = replace(world(tmp_path), steps=1)
    annotate(run, replace(ASKING, rounds=1))
    with pytest.raises(BadRun, match="already holds a loop; go on with --resume"):
        annotate(run, replace(ASKING, rounds=1))
    with pytest.raises(BadRun, match="was begun with query clasp_pe, now it is entropy"):
        annotate(run, replace(ASKING, rounds=1, query="entropy"), resume=True)


def test_what_cannot_work_is_refused_before_any_work(tmp_path):
    run = world(tmp_path)
    with pytest.raises(UnknownName, match="no query 'clasp'; did you mean clasp_pe"):
        annotate(run, Asking(query="clasp"))
    with pytest.raises(BadRun, match="measures on held-out cases"):
        annotate(replace(run, folds=1), ASKING)
    with pytest.raises(BadRun, match="count is at least 1"):
        annotate(run, Asking(count=0))
    assert not (tmp_path / "loop é").exists()
    with pytest.raises(BadRun, match="the task is 2-D, so a box has 2 sides"):
        annotate(run, Asking(size=(4, 4, 4)))


def test_a_case_without_labels_is_named(tmp_path):
    run = world(tmp_path, unlabeled=0.2)
    with pytest.raises(BadData, match=r"case world_00\d has no label map, and nobody is there"):
        annotate(replace(run, folds=2), ASKING)


def test_the_first_boxes_hold_every_region_twice(stored):
    plan, cases = stored
    pool = [shown(case, plan.task) for case in cases]
    labels = {one.case: one.label for one in pool}
    for seed in range(5):
        found = start(pool, Wanted(8, (5, 5), seed=seed))
        assert len(found) == 8
        for value in plan.task.labels.values():
            parts = [labels[box.case][tuple(map(slice, box.start, box.stop))] for box in found]
            assert sum((part == value).any() for part in parts) >= 2
    with pytest.raises(BadRun, match=r"the first round takes \d boxes to hold every region"):
        start(pool, Wanted(1, (5, 5)))
    with pytest.raises(BadData, match="no training case holds c1"):
        start([one.but(label=one.label * (one.label != 1)) for one in pool], Wanted(8, (5, 5)))


def test_ignored_voxels_have_no_gradient_and_every_patch_sees_a_box(stored):
    plan, cases = stored
    box = Box(cases[0].id, (2, 3), (7, 9))
    known = annotated(cases, [box])
    assert [case.labeled for case in known] == [True, *[False] * (len(cases) - 1)]
    task = replace(plan.task, patch=(12, 12))
    sampler = Sampler(known, task, task.patch, batch=4, foreground=0.5)
    for step in range(10):
        batch = sampler(step)
        assert (batch.weight.flatten(1).sum(1) > 0).all(), "a patch without a box teaches nothing"
        logits = torch.randn(batch.label.shape, requires_grad=True)
        loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
        loss(logits, batch.label, batch.weight).backward()
        outside = (batch.weight == 0).expand_as(logits)
        assert (logits.grad[outside] == 0).all()
        assert (logits.grad[~outside] != 0).any()


def test_counts_are_those_of_the_truth(stored):
    plan, cases = stored
    pool = Pool(Run("", ""), plan, cases, [])
    truth = shown(cases[1], plan.task).label
    found = pool.counted([Box(cases[1].id, (4, 4), (20, 15)), Box(cases[1].id, (20, 4), (22, 6))])
    parts = (truth[4:20, 4:15], truth[20:22, 4:6])
    assert found == (16 * 11 + 4, sum(np.count_nonzero(part) for part in parts))
    assert found[1] > 0


def test_the_area_under_a_flat_curve_is_its_height():
    assert aubc([0.7] * 5) == 0.7
    assert aubc([0.4]) == 0.4
    assert aubc([0.0, 1.0]) == 0.5
    assert aubc([0.0, 1.0, 1.0]) == 0.75


def test_the_share_of_rounds_that_are_over_runs_from_0_to_1():
    assert [Asking(rounds=5).wanted(at, (), 0).done for at in range(4)] == [0, 1 / 3, 2 / 3, 1]
    assert Asking(rounds=2).wanted(0, (), 0).done == 0


def test_words_become_a_run_and_what_is_asked(monkeypatch, capsys):
    calls = []
    row = {"round": 0, "annotated": 90, "foreground": 9, "mean": 0.5}

    def play(run, asking, *, resume):
        calls.append((run, asking, resume))
        return {"query": "entropy", "aubc": 0.5, "final": 0.5, "rounds": [row]}

    monkeypatch.setattr(module, "annotate", play)
    line = (
        "annotate d --to l --query entropy --rounds 2 --size 4x5x6 --steps 7 --hold p1,p2 --resume"
    )
    assert call(line.split()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "round 0: 90 voxels (9 of foreground), mean Dice 0.500",
        "AUBC of entropy: 0.500",
    ]
    ((run, asking, resume),) = calls
    assert (run.data, run.to) == ("d", str(module.Path("l") / "model.onco"))
    assert (run.steps, run.minutes, run.folds, run.hold) == (7, 0, 5, ("p1", "p2"))
    assert (asking, resume) == (Asking("entropy", 2, 20, (4, 5, 6)), True)
    assert call(["annotate", "d", "--to", "l", "--size", "4x0"]) == 2
    assert "sides are whole numbers above 0" in capsys.readouterr().err
