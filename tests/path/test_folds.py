"""Cross-validation by one command: every case is judged once, by a model that never saw it."""

import json
import sys
from dataclasses import replace

import pytest

from oncoseg.__main__ import main
from oncoseg.errors import BadData, BadFile, BadRun
from oncoseg.model import open_model
from oncoseg.prepare import held_out, open_store, prepare
from oncoseg.run import EACH
from oncoseg.train import train
from oncoseg.train.folds import table, together
from runs import toy_data, toy_run


def world(folder):
    task, _ = toy_data(folder / "data", 2, 4, dims=2, size=16)
    return toy_run(folder, task, folds=2, fold=EACH, steps=2)


def test_all_folds_and_a_final_model_which_go_on_where_they_were_killed(tmp_path, monkeypatch):
    run = world(tmp_path)
    folder, calls = run.folder / "folds", []
    whole = train.__wrapped__ if hasattr(train, "__wrapped__") else train
    monkeypatch.setattr("oncoseg.train._train", broken(calls, "fold_1"))
    with pytest.raises(KeyboardInterrupt):
        whole(run)
    monkeypatch.undo()
    assert (folder / "fold_0.onco").exists()
    assert not (folder / "fold_1.onco").exists()
    with pytest.raises(BadRun, match="already holds a run"):
        train(run)
    with pytest.raises(BadRun, match="begun with steps 2, now it is 3"):
        train(replace(run, steps=3), resume=True)
    before = (folder / "fold_0.onco").stat().st_mtime_ns
    earlier = folder / "fold_0.run" / "validation.json"
    whole_of_it = earlier.read_bytes()
    earlier.write_text(json.dumps({"by_modalities": {"a": {"dice": {}, "cases": 2}}}))
    again = r"is of an earlier version, .*fold_0\.onco and go on with"
    with pytest.raises(BadFile, match=again):
        train(run, resume=True)
    earlier.write_bytes(whole_of_it)
    lessons = earlier.with_name("lessons.json").rename(tmp_path / "lessons.json")
    with pytest.raises(BadFile, match=again):
        train(run, resume=True)
    lessons.rename(earlier.with_name("lessons.json"))
    train(run, resume=True)
    assert (folder / "fold_0.onco").stat().st_mtime_ns == before
    found = json.loads((run.folder / "crossvalidation.json").read_text())
    assert sorted(found["cases"]) == [f"world_{place:03d}" for place in range(4)]
    for name, row in found["cases"].items():
        own = folder / f"fold_{row['fold']}.run"
        assert name in json.loads((own / "held_out.json").read_text())
        assert json.loads((own / "validation.json").read_text())["cases"][name]["c1"] == row["c1"]
    card = open_model(run.to).card
    assert card["trained_on"] == "4 cases of data"
    assert card["validation"]["cases"] == 4
    assert card["cases_by_modalities"]["a+b"] == 4
    assert card["validation"]["dice"]["c1"] == found["dice"]["c1"]["mean"]
    assert "world_003" in table(run)
    assert not (folder / "fold_0.run" / "prepared").exists()


def broken(calls, name):
    """Training that is killed when it comes to a model of this name."""
    from oncoseg.train import _train

    def killed(run, *rest):
        calls.append(run.to)
        if name in run.to:
            raise KeyboardInterrupt
        return _train(run, *rest)

    return killed


def test_folds_together_by_hand():
    half = {"dice": {"x": 0.5}, "cases": {"a": {"x": 0.4}, "b": {"x": 0.6}}}
    other = {"dice": {"x": 0.9}, "cases": {"c": {"x": 0.9}}}
    half["by_modalities"] = {"mr": {"rows": {"a": {"x": 0.2}, "b": {"x": 0.4}}}}
    other["by_modalities"] = {"mr": {"rows": {"c": {"x": 0.9}}}, "ct": {"rows": {"c": {}}}}
    found = together([half, other], {"a": "p", "b": "p", "c": "q"})
    assert found["dice"]["x"]["mean"] == pytest.approx(1.9 / 3, abs=1e-4)
    assert found["cases"]["c"] == {"fold": 1, "x": 0.9}
    mr, ct = found["by_modalities"].values()
    assert (mr["dice"], mr["cases"]) == ({"x": 0.5}, 3)
    assert mr["intervals"]["x"] == [0.3, 0.9]  # of two patients: each alone is drawn often enough
    assert (ct["dice"], ct["cases"], ct["intervals"]) == ({}, 1, {})


def test_sites_are_kept_apart_if_asked(tmp_path):
    run = world(tmp_path)
    rows = ["case\tsite", *(f"world_{place:03d}\t{'ab'[place // 2]}" for place in range(4))]
    (tmp_path / "data" / "cases.tsv").write_text("\n".join(rows) + "\n")
    prepare(tmp_path / "data", tmp_path / "store", labels=run.labels)
    cases = open_store(tmp_path / "store")
    for fold in range(2):
        training, held = held_out(cases, 2, fold, by="site")
        assert len({case.record["site"] for case in held}) == 1
        assert not {case.record["site"] for case in held} & {
            case.record["site"] for case in training
        }
    with pytest.raises(BadData, match="3 folds need as many labelled sites, but there are 2"):
        held_out(cases, 3, 0, by="site")
    with pytest.raises(BadData, match="has no site"):
        held_out([case.but(site="") for case in cases], 2, 0, by="site")
    with pytest.raises(BadData, match="patient one is at the sites a and b"):
        held_out([case.but(patient="one") for case in cases], 2, 0, by="site")


def test_the_command_prints_every_case(tmp_path, monkeypatch, capsys):
    run = world(tmp_path)
    words = f"oncoseg train {run.data} --to {run.to} --network unet:width=4 --steps 1 --folds 2"
    words += " --labels c1=1,c2=2 --device cpu"
    monkeypatch.setattr(sys, "argv", words.split())
    assert main() == 0
    printed = capsys.readouterr().out
    assert all(f"world_{place:03d}" in printed for place in range(4))
    assert "all (95 % interval)" in printed
