"""Several seeds: what is between them is variance, what is finished stays finished."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from oncoseg.__main__ import call
from oncoseg.errors import BadRun
from oncoseg.model import open_model
from oncoseg.train import loop, seeds
from oncoseg.train.seeds import between, each_seed
from runs import toy_data, toy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    task, _ = toy_data(folder / "data", 2, 4, dims=2, size=24)
    return toy_run(folder, task, augmentations=(), steps=3, hold=("world_002",))


def test_mean_and_variance_are_between_the_seeds():
    found = between({3: {"a": 0.5, "b": 0.8}, 4: {"a": 0.7, "b": 0.8}})
    assert found["seeds"] == [3, 4]
    assert found["dice"]["a"] == {
        "mean": 0.6,
        "variance": 0.02,
        "deviation": 0.1414,
        "chance": 0.392,
        "values": [0.5, 0.7],
    }
    assert found["dice"]["b"]["variance"] == 0
    assert found["dice"]["all regions"]["values"] == [0.65, 0.75]


def test_each_seed_is_a_run_and_what_is_finished_stays(run, monkeypatch, capsys):
    given = ["train", run.data, "--to", run.to, "--steps", "3", "--hold", "world_002"]
    given += ["--network", run.network, "--device", "cpu", "--labels", "c1=1,c2=2"]
    given += ["--seeds", "2"]
    genuine, steps = loop.Loop._step, []

    def counted(self, batch, step):
        steps.append((self.run.seed, step))
        if (self.run.seed, step) == (1, 2) and steps.count((1, 2)) == 1:
            raise KeyboardInterrupt
        return genuine(self, batch, step)

    monkeypatch.setattr(loop.Loop, "_step", counted)
    assert call(given) == 130
    assert steps == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert call([*given, "--resume"]) == 0
    assert steps[6:] == [(1, 2)]
    said = capsys.readouterr().out
    assert "seed 0    seed 1      mean deviation    chance" in said
    record = json.loads((run.folder / "seeds.json").read_text())
    other = run.folder / "seeds" / "seed_1.run"
    values = [
        json.loads((folder / "validation.json").read_text())["dice"]["c1"]
        for folder in (run.folder, other)
    ]
    assert record["dice"]["c1"]["values"] == values
    first, second = open_model(run.to), open_model(other.with_suffix(".onco"))
    assert first.members["weights.safetensors"] != second.members["weights.safetensors"]
    assert not (other / "prepared").exists()
    steps.clear()
    assert call([*given[:-1], "3", "--resume", "--json"]) == 0
    assert {seed for seed, _ in steps} == {2}
    assert json.loads(capsys.readouterr().out)["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("count", "change", "sentence"),
    [
        (1, {}, "between two seeds or more"),
        (2, {"hold": ()}, "say which, with --fold 0"),
        (2, {"hold": (), "folds": 5, "fold": -1}, "say which, with --fold 0"),
    ],
)
def test_what_gives_no_variance_is_refused(run, count, change, sentence):
    with pytest.raises(BadRun, match=sentence):
        each_seed(replace(run, **change), count)


def test_prepared_data_have_no_scans_to_validate(run, tmp_path):
    Path(tmp_path / "plan.json").touch()
    with pytest.raises(BadRun, match="validated from their scans"):
        each_seed(replace(run, data=str(tmp_path)), 2)
    assert seeds.RECORD == "seeds.json"
