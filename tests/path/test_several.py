"""Folds and seeds on a Ray cluster: what they give here, whatever happens to its workers."""

import json
import os
import random
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from oncoseg import checkpoint, cluster
from oncoseg.__main__ import call
from oncoseg.errors import BadRun
from oncoseg.model import open_model
from oncoseg.run import EACH
from oncoseg.train import train
from runs import toy_data, toy_run

pytest.importorskip("ray", reason="pip install 'oncoseg[cluster]'")
KILLS = 2


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A cross-validation made in this process."""
    folder = tmp_path_factory.mktemp("several")
    task, _ = toy_data(folder / "data", 2, 4, dims=2, size=16)
    run = toy_run(folder, task, to=str(folder / "here.onco"), folds=2, fold=EACH, steps=100)
    train(run)
    return folder, run


def killed(run, over):
    """Kill a random worker that trains a fold, after its first epoch, some times."""
    chance, dead = random.Random(0), []
    while not over.wait(chance.uniform(0.1, 0.4)) and len(dead) < KILLS:
        steps = [last_step(path) for path in (run.folder / "folds").glob("*.run/metrics.jsonl")]
        at_work = [process for process in Path("/proc").iterdir() if trains(process)]
        if at_work and steps and 0 < max(steps) < 80:
            process = chance.choice(at_work)
            os.kill(int(process.name), signal.SIGKILL)
            dead.append(process)
            over.wait(2)
    return dead


def last_step(path):
    """The step of the last line of metrics, 0 if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1])["step"] if lines else 0


def trains(process):
    """Whether it is a worker of ours that has a task."""
    try:
        return (process / "cmdline").read_bytes().startswith(b"ray::_there")
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_folds_of_killed_workers_go_on_elsewhere(two_workers, here):
    folder, run = here
    there = replace(run, to=str(folder / "there.onco"))
    over, dead = threading.Event(), []
    killer = threading.Thread(target=lambda: dead.extend(killed(there, over)))
    killer.start()
    try:
        train(there, cluster="auto")
    finally:
        over.set()
        killer.join()
    assert dead
    records = [
        json.loads((one.folder / "crossvalidation.json").read_text()) for one in (run, there)
    ]
    assert records[0] == records[1]
    assert open_model(there.to).card["validation"]["folds"] == 2
    resumed = 0
    for fold in range(2):
        one = there.folder / "folds" / f"fold_{fold}.run"
        lines = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(5, 101, 5))
        progress = json.loads(checkpoint.read(one / "last.safetensors")[1]["progress"])
        assert progress["seconds"] >= lines[-1]["seconds"] - 0.1
        resumed += "resumed" in (one / "training.json").read_text()
    assert resumed
    assert not (there.folder / ".shared").exists()


def test_seeds_are_what_they_are_here(two_workers, here, capsys):
    folder, run = here
    tables = []
    for name in ("alone", "spread"):
        words = ["train", run.data, "--to", str(folder / f"{name}.onco"), "--steps", "4"]
        words += ["--network", run.network, "--device", "cpu", "--labels", "c1=1,c2=2"]
        words += ["--hold", "world_002", "--seeds", "2", "--precision", "f32"]
        assert call([*words, *(["--cluster", "auto"] if name == "spread" else [])]) == 0
        tables.append(capsys.readouterr().out.partition("\n\n")[2])
    assert tables[0] == tables[1]


def test_what_failed_is_told_and_the_rest_is_kept(two_workers, here):
    from oncoseg.train.several import several

    def work(number):
        if number == 1:
            raise BadRun("no such luck")
        return number

    def take():
        for name, _ in several(work, {f"fold {n}": (n,) for n in range(3)}, here[1], "auto"):
            found.append(name)

    found = []
    with pytest.raises(BadRun, match=r"^fold 1: no such luck; go on with --resume"):
        take()
    assert sorted(found) == ["fold 0", "fold 2"]


def test_machines_that_do_not_see_the_folder_are_refused(two_workers, here, monkeypatch):
    monkeypatch.setattr(cluster, "_read", lambda path: "")
    with pytest.raises(BadRun, match=r"of the cluster does not see .*; train to a folder that all"):
        train(replace(here[1], to=str(here[0] / "blind.onco")), cluster="auto")


def test_one_training_is_not_for_a_cluster(here):
    with pytest.raises(BadRun, match="for one training use torchrun"):
        train(replace(here[1], fold=0), cluster="auto")


def test_each_task_has_its_share_of_the_slots(two_workers):
    assert [cluster.share_of_slots(tasks) for tasks in (1, 2, 5)] == [2, 1, 1]
