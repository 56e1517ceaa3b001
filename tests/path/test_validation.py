"""What held-out cases say of a model: also with modalities missing, and where little was drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from oncoseg import phantom
from oncoseg.__main__ import main
from oncoseg.blocks.annotated import whole
from oncoseg.case import Case, Grid, Task, Volume
from oncoseg.model import open_model
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.train import train
from oncoseg.train.validation import Mirrored, Subsets, dice_of, partial, truth_of
from runs import toy_data, toy_run

GRID = Grid((1, 4), np.eye(3))
TASK = Task("t", ("a",), {"x": 1, "y": 2}, {"x": ("x",), "y": ("y",)}, patch=(1, 4))


def drawn(values, **said):
    volume = Volume(np.array([values]), GRID, Path("x"))
    return Case("c", "c", {"a": volume}, {"a": volume}, **said)


def test_only_what_was_looked_for_is_scored():
    label = np.array([[1, 1, 2, 2]])
    assert dice_of(drawn([1, 0, 0, 0]), label, TASK) == {"x": 0.6667, "y": 0}
    assert dice_of(drawn([1, 0, 0, 0], annotated=("x",)), label, TASK) == {"x": 0.6667}
    ignored = drawn([1, 9, 2, 9], ignore=9)
    assert dice_of(ignored, label, TASK) == {"x": 1, "y": 1}
    assert not whole(ignored, TASK)
    assert not whole(drawn([1, 0, 0, 0], annotated=("x",)), TASK)
    assert whole(drawn([1, 0, 0, 0], ignore=9, annotated=("x", "y")), TASK)


def test_subsets_of_a_case():
    assert partial("ab") == [("a",), ("b",)]
    assert partial("a") == []
    assert len(partial("abcd")) == 14
    assert partial("abcd")[:5] == [("a",), ("b",), ("c",), ("d",), ("a", "b", "c")]
    assert len(partial("abcdefgh")) == 16


def test_without_time_each_modality_alone_is_tried_once():
    task = replace(TASK, modalities=("a", "b", "c"))
    subsets, case = Subsets(task, -1.0), drawn([1, 0, 0, 0])
    case = replace(case, images=dict.fromkeys("cab", case.images["a"]))
    for _ in range(2):
        for part in subsets.of(case):
            subsets.add(tuple(part.images), part, {"x": 0.5})
    alone = {"dice": {"x": 0.5}, "cases": 1, "intervals": {}, "rows": {"c": {"x": 0.5}}}
    assert subsets.table() == dict.fromkeys("abc", alone)


def test_colours_are_tried_together():
    colours = ("red", "green", "blue")
    case = drawn([1, 0, 0, 0])
    assert not Subsets(replace(TASK, modalities=colours), 9.0).several
    several = Subsets(replace(TASK, modalities=(*colours, "depth")), 9.0)
    case = replace(case, images=dict.fromkeys(several.task.modalities, case.images["a"]))
    assert [tuple(part.images) for part in several.of(case)] == [colours, ("depth",)]


def test_a_card_says_dice_by_modalities(tmp_path, capsys, monkeypatch):
    task, _ = toy_data(tmp_path / "data", 2, 4, dims=2, size=16)
    for path in (tmp_path / "data" / "world_000").glob("b_*"):
        path.unlink()
    run = toy_run(tmp_path, task, hold=("world_000", "world_001"), steps=2)
    train(run)
    card = open_model(run.to).card
    assert list(card["dice_by_modalities"]) == ["a+b", "a", "b"]
    assert card["cases_by_modalities"] == {"a+b": 1, "a": 2, "b": 1}
    record = json.loads((run.folder / "validation.json").read_text())
    rows, found = record["cases"], card["dice_by_modalities"]
    assert found["a+b"] == rows["world_001"]
    assert set(record["by_modalities"]["b"]["dice"]) == set(task.regions)
    monkeypatch.setattr("sys.argv", ["oncoseg", "show", run.to])
    assert main() == 0
    shown = capsys.readouterr().out
    assert "1 case" in shown
    assert f"{found['b']['c1']:.3f}" in shown


def test_the_card_says_what_mirrored_views_gain(tmp_path):
    """A network whose answer is wrong on one side gains what the other side knows."""
    task, (case,) = phantom.world(3, 1, dims=3, size=16)
    task = replace(task, patch=(16, 16, 16), strides=((2, 2, 2),))
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    truth = truth_of(case)
    member = np.moveaxis(task.membership.T[truth.astype(int)], -1, 0)
    logits = np.float32(4 * member - 2)[None]
    calls = []

    def half(image, present):
        """Knows the truth where the view begins, whichever way it lies."""
        calls.append(1)
        turned = len(calls) % 2 == 0
        found = np.flip(logits, 2).copy() if turned else logits.copy()
        found[:, :, 8:] = 0
        return found

    plain = dice_of(case, 0 * truth.astype(np.uint8), task)
    mirrored = Mirrored(plan, half, (0,), (), 0.0)
    for _ in range(2):
        mirrored(case, plain)
    card = mirrored.in_card()["mirroring"]
    assert (card["views"], card["cases"]) == (2, 1)
    assert all(value > 0.99 for value in card["gain"].values())
    assert Mirrored(plan, half, (), (), 9.0).in_card() == {}
