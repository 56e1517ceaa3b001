"""The page of a training: the answer first, every number, nothing from elsewhere, after any end."""

import json
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from oncoseg.errors import BadFile
from oncoseg.train import loop as module
from oncoseg.train import page, train
from oncoseg.train.folds import each_fold
from oncoseg.train.loop import Loop
from oncoseg.train.page import history
from oncoseg.train.page.watch import Watch
from oncoseg.train.seeds import each_seed
from runs import lines, toy_data, toy_run

VOID = {"meta", "br", "img", "link", "input"}


class Checked(HTMLParser):
    """Balanced tags, and everything that a page would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.text, self.hints = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert tag not in {"script", "link", "iframe", "img"}
        self.loaded += [given[name] for name in ("src", "href", "xlink:href") if name in given]
        self.hints += [given["title"]] if "title" in given else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def world(folder, **changes):
    task, _ = toy_data(folder / "data", 2, 6, dims=2, size=24, overlapping=True)
    words = {
        "to": str(folder / "a model.onco"),
        "augmentations": ("spatial:probability=0",),
        "folds": 2,
        "steps": 20,
        "rate": 1e-2,
        "average": 0.5,
    }
    return toy_run(folder, task, **{**words, **changes})


def seen(run):
    """The page, checked: self-contained, small, stamped."""
    text = (run.folder / page.NAME).read_text(encoding="utf-8")
    found = Checked(text)
    assert all(re.match(r"data:image/png;base64,|#case\d$|\./", one) for one in found.loaded)
    assert "url(" not in text
    assert "@import" not in text
    assert "Research use only. Not a medical device." in text
    assert len(text.encode()) <= 2_000_000
    assert str(run.folder) not in text  # folders may carry names
    return text, found


def numbers(value):
    for one in value.values() if isinstance(value, dict) else [value]:
        if isinstance(one, dict):
            yield from numbers(one)
        else:
            yield one


def holds_all(run):
    """Whether every number of metrics.jsonl stands on the page, to the last digit."""
    text, found = seen(run)
    stand = set(found.hints) | set(found.text)
    assert all(str(one) in stand for line in lines(run) for one in numbers(line))
    return text


@pytest.fixture
def always(monkeypatch):
    """Draw the page at each twentieth however little time has gone by."""
    monkeypatch.setattr("oncoseg.train.page.watch.SHARE", 1e9)


def test_the_page_holds_every_number_and_examples_of_a_training(tmp_path, always):
    run = world(tmp_path)
    train(run)
    text, said = holds_all(run), lines(run)
    assert len(said) == 20
    assert set(said[-1]["cases"]) == set(json.loads((run.folder / "held_out.json").read_text()))
    for name, value in said[-1]["dice"].items():
        rows = [row[name] for row in said[-1]["cases"].values() if name in row]
        assert value == pytest.approx(np.mean(rows), abs=2e-4)
    validation = json.loads((run.folder / "validation.json").read_text())
    mean = np.mean([np.mean(list(row.values())) for row in validation["cases"].values()])
    assert f"Dice {mean:.3f} at the end on 3 held-out cases" in text
    assert "of 3" in text
    assert "best" in text
    assert "median" in text
    assert "worst" in text
    assert text.count("<use ") == 60  # three cases, each of the twenty validations
    assert text.count("data:image/png;base64,") == 3
    assert 'http-equiv="refresh"' not in text
    assert "unet:width=4" in text
    assert "parameters" in text
    assert "supervised" in text


KILLED = """
import os, signal, sys
from oncoseg.__main__ import call
from oncoseg.train.page import watch
from oncoseg.train.loop import Loop
watch.SHARE, genuine = 1e9, Loop._step

def killed(self, batch, step):
    if step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return genuine(self, batch, step)

Loop._step = killed
call(["train", "--run", sys.argv[1], "--to", sys.argv[2]])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_the_page_is_there_after_a_kill_and_goes_on(tmp_path, always):
    run = world(tmp_path)
    run.write(tmp_path / "run.toml")
    given = [sys.executable, "-c", KILLED, str(tmp_path / "run.toml"), run.to]
    assert subprocess.run(given, check=False).returncode == -signal.SIGKILL
    text, said = holds_all(run), lines(run)
    assert [line["step"] for line in said] == list(range(1, 10))
    assert " now on 3 held-out cases" in text
    assert "at step 9, 45% done" in text
    assert 'http-equiv="refresh"' in text
    train(run, resume=True)
    text, said = holds_all(run), lines(run)
    assert [line["step"] for line in said] == list(range(1, 21))
    assert "resumed after a kill at step 9" in text
    kept = history.kept(run.folder)
    for example in kept["examples"].values():
        assert [step for step, _ in example["seen"]] == list(range(1, 21))


def test_a_stop_and_what_follows_are_marked(tmp_path, always, monkeypatch):
    run, genuine = world(tmp_path), Loop._step

    def asked(self, batch, step):
        if step == 4:
            (self.run.folder / "stop").touch()
        return genuine(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", asked)
        with pytest.raises(module.Stopped):
            train(run)
    text = holds_all(run)
    assert "stopped by a file at step 5" in text
    train(run, resume=True)
    text = holds_all(run)
    assert "stopped by a file at step 5; resumed at step 5" in text


def test_a_broken_loss_is_said_first_and_marked(tmp_path, always, monkeypatch):
    run, genuine, broken = world(tmp_path), Loop._step, [7]

    def breaks(self, batch, step):
        losses = genuine(self, batch, step)
        if broken and step == broken[0]:
            broken.pop()
            return {name: value * torch.nan for name, value in losses.items()}
        return losses

    monkeypatch.setattr(Loop, "_step", breaks)
    train(run)
    text, said = holds_all(run), lines(run)
    assert [line["broke"] for line in said if "broke" in line] == [8]
    assert "The loss was no longer a number at step 8: training went back to step 7" in text
    assert ">went back</text>" in text
    assert "nan" not in Checked(text).hints


def test_without_held_out_cases_it_says_that_nothing_is_known(tmp_path, always):
    run = world(tmp_path, folds=1)
    train(run)
    text = holds_all(run)
    assert "No case was held out, so there is no Dice" in text
    assert "Loss of training patches" in text
    assert "Dice of held-out cases" not in text


def test_a_method_that_is_trained_for_something_else_has_no_dice(tmp_path, always):
    run = world(tmp_path, method="misfm_volume_fusion")
    train(run)
    text = holds_all(run)
    assert "This method is not trained for the task itself, so there is no Dice" in text


def test_folds_are_summed_up_above_the_model_of_all_cases(tmp_path):
    run = world(tmp_path, fold=-1, steps=3)
    each_fold(run)
    text, found = seen(run)
    assert f"./folds/fold_0.run/{page.NAME}" in found.loaded
    assert "on all 6 cases, each by a model that never saw it" in text
    assert "Cross-validation in 2 folds" in text
    cross = json.loads((run.folder / "crossvalidation.json").read_text())
    for row in cross["dice"].values():
        assert f"{row['interval'][0]:.3f} to {row['interval'][1]:.3f}" in text
    assert (run.folder / "folds" / "fold_1.run" / page.NAME).exists()


def test_a_page_that_cannot_be_written_warns_and_ends_nothing(tmp_path, monkeypatch, caplog):
    def refused(folder):
        raise BadFile(folder, "could not be written", "free some space")

    monkeypatch.setattr("oncoseg.train.page.watch.page.write", refused)
    assert train(world(tmp_path, steps=2)).exists()
    assert "the page of the training was not drawn" in caplog.text


def test_of_several_processes_the_first_alone_draws(tmp_path):
    run, ranks = SimpleNamespace(folder=tmp_path, tensorboard=True), SimpleNamespace(first=False)
    progress = SimpleNamespace(step=1, seconds=1.0)
    watch = Watch(SimpleNamespace(ranks=ranks, run=run, progress=progress))
    watch.draw(now=True)
    watch.chart({"loss": {"x": 1.0}})
    assert not list(tmp_path.iterdir())


def test_names_are_text_on_the_page(tmp_path):
    run = tmp_path / "<b>&.run"
    run.mkdir()
    kept = {"regions": ["<x>"], "trained": {"Data": "<i>"}, "events": [[1, 1.0, "<stop>"]]}
    rows = {"<case>": {"<x>": 0.5}}
    line = {"step": 1, "seconds": 1.0, "loss": {"<l>": 1.0}, "dice": {"<x>": 0.5}, "cases": rows}
    (run / history.RECORD).write_text(json.dumps(kept))
    (run / "metrics.jsonl").write_text(json.dumps(line) + '\n{"half')
    text = page.write(run).read_text(encoding="utf-8")
    Checked(text)
    assert not re.search(r"<(b>&|x>|i>|stop>|case>|l>)", text.replace('<b class="first">', ""))


def test_seeds_are_linked_and_compared(tmp_path):
    run = world(tmp_path, fold=0, steps=2)
    each_seed(run, 2)
    text, found = seen(run)
    assert f"./seeds/seed_1.run/{page.NAME}" in found.loaded
    assert "this one" in text


def test_while_folds_are_trained_the_page_says_how_many_are_done(tmp_path):
    fold = tmp_path / "m.run" / "folds" / "fold_0.run"
    fold.mkdir(parents=True)
    (fold / history.RECORD).write_text(json.dumps({"regions": ["x"], "done": 1.0}))
    (fold / "validation.json").write_text(json.dumps({"cases": {"a": {"x": 0.5}, "b": {"x": 0.7}}}))
    fold.with_suffix(".onco").touch()
    text = page.write(tmp_path / "m.run").read_text(encoding="utf-8")
    Checked(text)
    assert "Cross-validation: 1 fold is finished" in text
    assert ">0.600<" in text


def test_subsets_of_modalities_stand_with_their_intervals(tmp_path):
    run = tmp_path / "m.run"
    run.mkdir()
    final = {
        "cases": {"a": {"x": 0.5}, "b": {"x": 0.7}},
        "by_modalities": {
            "t1+t2": {"dice": {"x": 0.61}, "cases": 2, "intervals": {"x": [0.512, 0.713]}},
            "t2": {"dice": {"x": 0.321}, "cases": 1},
        },
    }
    (run / "validation.json").write_text(json.dumps(final))
    (run / history.RECORD).write_text(json.dumps({"regions": ["x"], "step": 1, "done": 1.0}))
    found = Checked(page.write(run).read_text(encoding="utf-8")).text
    row = found[found.index("With t1+t2") :]
    assert row[:4] == ["With t1+t2", "0.610", "0.512 to 0.713", "2"]
    assert row[4:8] == ["With t2", "0.321", "no interval", "1"]
