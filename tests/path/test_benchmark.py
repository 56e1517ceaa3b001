"""Networks on trial: the same for all, what fails is said, what is finished stays."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from oncoseg import benchmark as verb
from oncoseg import files, phantom
from oncoseg.__main__ import call
from oncoseg.benchmark import Trial, benchmark, learned, mixed, trials_of, watched
from oncoseg.errors import BadOption, BadRun, Busy, Stopped
from oncoseg.machine import machine
from oncoseg.run import Run

GIVEN = ["--networks", "hemis:width=4,umamba:where=middle,unet", "--steps", "2", "--device", "cpu"]
GIVEN += ["--labels", "c1=1,c2=2", "--hold", "world_002"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "data"
    for case in phantom.world(2, 4, dims=2, size=24)[1]:
        phantom.write(case, folder, layout="folders")
    return folder


def test_all_are_trained_and_predicted_alike_and_failures_are_in_the_table(
    data, tmp_path, capsys, monkeypatch
):
    to = tmp_path / "contest é"
    words = ["benchmark", str(data), "--to", str(to), *GIVEN]
    assert call([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["algorithms"] == ["unet", "hemis_width=4"]
    assert said["cases"] == 1
    assert set(said["costs"]["unet"]) == {"seconds", "peak_mb", "parameters", "flops"}
    (table,) = [one for one in said["tables"] if one["heading"] == "How they learned"]
    rows = {row[0]: row for row in table["rows"]}
    assert rows["unet"][1] == "2"
    assert rows["unet"][5] == "1.00"
    assert "where of bottleneck" in rows["umamba_where=middle"][-1]
    assert table["text"].endswith(f" Trained on {machine('cpu')}.")
    assert not any("unlike machines" in note for note in said["notes"])
    runs = [Run.read(to / "models" / f"{name}.run" / "run.toml") for name in said["algorithms"]]
    assert runs[0] == replace(runs[1], network=runs[0].network, name=runs[0].name, to=runs[0].to)
    assert "How they learned" in (to / "comparison.html").read_text(encoding="utf-8")
    # The same again trains nothing; another length is refused.
    monkeypatch.setattr(verb, "_alone", lambda *words: pytest.fail("it was done before"))
    assert call(words) == 0
    assert call([*words, "--steps", "3"]) == 2
    assert "was begun with another steps; give another folder" in capsys.readouterr().err


def test_all_are_those_that_the_method_can_train_and_the_others_are_said(data, tmp_path):
    run = Run(str(data), "", network="unet:width=4", hold=("world_002",), steps=2)
    trials, left = trials_of(run, tmp_path, ["all"])
    names = [one.name for one in trials]
    assert names[0] == "unet"
    assert trials[0].run.network == "unet:width=4"
    assert {"hemis", "umamba", "nnunet"} <= set(names)
    assert "diffusion_unet" not in names
    assert any(line.startswith("diffusion_unet was not tried: ") for line in left)
    with pytest.raises(BadRun, match="no segmentation"):
        trials_of(run, tmp_path, ["unet", "diffusion_unet"])


def test_cases_must_be_held_out_and_two_networks_come_to_an_end(data, tmp_path, monkeypatch):
    with pytest.raises(BadRun, match="held out of all"):
        benchmark(Run(str(data), "", steps=2), tmp_path)
    run = Run(str(data), "", steps=2, hold=("world_002",), labels={"c1": 1, "c2": 2})

    def failed(trial, *rest):
        files.write_json(trial.record, {"failed": "no"})

    monkeypatch.setattr(verb, "tried", failed)
    with pytest.raises(BadRun, match="fewer than two networks could be tried: unet: no"):
        benchmark(run, tmp_path, networks=["unet"])


def trial(folder, name, **said):
    record = folder / f"{name}.json"
    if said:
        files.write_json(record, said)
    return Trial(name, Run("d", str(folder / f"{name}.onco")), folder / name, record)


def test_what_fails_goes_on_record_and_what_is_stopped_does_not(tmp_path):
    one = trial(tmp_path, "a")
    with pytest.raises(SystemExit) as ended, watched(one, 0):
        raise Stopped("stopped by SIGTERM", 143)
    assert (ended.value.code, one.said) == (143, {})
    with pytest.raises(SystemExit) as ended, watched(one, 0):
        raise BadOption("no such thing")
    assert (ended.value.code, one.said) == (1, {"failed": "no such thing"})


def test_minutes_of_unlike_machines_are_told_to_be_unequal(tmp_path):
    slow, fast = (
        trial(tmp_path, name, machine=f"{name}, 2 threads", dice=0.5) for name in ("slow", "fast")
    )
    assert mixed([slow, trial(tmp_path, "old", dice=0.5), trial(tmp_path, "b", failed="no")]) == []
    (said,) = mixed([slow, fast, fast])
    assert "fast, 2 threads and slow, 2 threads" in said


def grown(one):
    """Take memory beyond a limit, in a process of its own."""
    with watched(one, 1):
        verb.threading.Event().wait(60)


def test_a_network_that_takes_more_memory_than_it_may_ends_alone(tmp_path):
    one = trial(tmp_path, "a")
    assert verb._alone(grown, one) == 1
    assert one.said["failed"].endswith("of memory, more than 1 MB")


KILLED = """
import os, sys, time
from pathlib import Path
from oncoseg import benchmark

def work(folder):
    Path(folder, "child").write_text(str(os.getpid()))
    time.sleep(300)

if __name__ == "__main__":
    benchmark._alone(work, sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by its number")
def test_no_training_goes_on_when_the_benchmark_was_killed(tmp_path):
    (tmp_path / "script.py").write_text(KILLED)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(tmp_path)])
    told = tmp_path / "child"
    assert waited(lambda: told.exists() and told.read_text())
    child = int(told.read_text())
    parent.kill()
    parent.wait()
    assert waited(lambda: gone(child))


def waited(done):
    for _ in range(600):
        if done():
            return True
        time.sleep(0.1)
    return False


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return (
        Path(f"/proc/{process}/stat").exists()
        and "Z" in Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2]
    )


def test_a_process_that_is_stopped_stops_all_and_one_that_dies_is_told(tmp_path, monkeypatch):
    one = trial(tmp_path, "a")
    monkeypatch.setattr(verb, "_alone", lambda *words: 143)
    with pytest.raises(Stopped, match="stopped while a was tried"):
        verb.tried(one, tmp_path, [], 0)
    assert not one.said
    monkeypatch.setattr(verb, "_alone", lambda *words: 137)
    verb.tried(one, tmp_path, [], 0)
    assert one.said["failed"].startswith("its process ended with exit code 137")


def test_shares_are_of_the_first_that_came_to_an_end(tmp_path):
    row = {"steps": 100, "seconds": 50.0, "peak_mb": 900, "alone": ""}
    trials = [
        trial(tmp_path, "unet", **row, dice=0.8),
        trial(tmp_path, "slow", **row | {"steps": 10, "alone": "it loops"}, dice=0.6),
        trial(tmp_path, "broken", failed="out of luck"),
    ]
    assert learned(trials).rows == (
        ("unet", "100", "0.5", "900", "0.800", "1.00", ""),
        (
            "slow",
            "10",
            "5",
            "900",
            "0.600",
            "0.75",
            "below 0.9 of unet; runs in torch alone: it loops",
        ),
        ("broken", "-", "-", "-", "-", "-", "failed: out of luck"),
    )


def test_what_another_process_tries_is_waited_for_and_not_on_record(data, tmp_path):
    run = Run(str(data), "", network="unet:width=4", hold=("world_002",), steps=2, device="cpu")
    (trial,), _ = trials_of(replace(run, labels={"c1": 1, "c2": 2}), tmp_path, ["unet:width=4"])
    with files.alone(trial.run.folder / ".lock"), pytest.raises(Busy, match="tries unet_width=4"):
        verb.tried(trial, tmp_path / "store", ["world_002"], 0)
    assert not trial.record.exists()
