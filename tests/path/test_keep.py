"""Nothing a run has learned is lost: kills, stops, ends, two runs at once."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncoseg import checkpoint, files
from oncoseg.__main__ import INTERRUPTED, call
from oncoseg.errors import BadRun, Stopped
from oncoseg.train import keep as module
from oncoseg.train import prepared, train
from oncoseg.train.loop import Loop
from runs import lines, loop_of, toy_data, toy_run, warnings_of, weights_of


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A toy world that is prepared, and how it is run."""
    folder = tmp_path_factory.mktemp("keep")
    task, _ = toy_data(folder / "data", 2, 6, dims=2, size=24)
    run = toy_run(folder, task, steps=10)
    return prepared(run), run


@pytest.fixture
def run(store, tmp_path):
    folder, run = store
    return replace(run, data=str(folder), to=str(tmp_path / "é ü" / "model.onco"))


def words(run):
    given = ["train", run.data, "--to", run.to, "--steps", str(run.steps), "--resume"]
    given += ["--network", run.network, "--device", "cpu", "--precision", "f32", "--workers", "1"]
    for name in run.augmentations:
        given += ["--augmentation", name]
    return given


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The weights of a run that nothing happens to."""
    folder, run = store
    run = replace(run, data=str(folder), to=str(tmp_path_factory.mktemp("whole") / "model.onco"))
    train(run)
    return weights_of(run)


ASK = """
import os, signal, sys
from pathlib import Path
from oncoseg.__main__ import call
from oncoseg.train.keep import SIGNALS
from oncoseg.train.loop import Loop
how, genuine = sys.argv[1], Loop._step

def asked(self, batch, step):
    if step == 4:
        if how == "file":
            (self.run.folder / "stop").touch()
        else:
            os.kill(os.getpid(), signal.Signals[how])
    return genuine(self, batch, step)

Loop._step = asked
before = [signal.getsignal(number) for number in SIGNALS]
code = call(sys.argv[2:])
assert [signal.getsignal(number) for number in SIGNALS] == before
sys.exit(code)
"""


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "file"])
def test_a_stop_is_saved_and_gone_on_with_to_the_same_bits(run, whole, how):
    given = [sys.executable, "-X", "utf8", "-c", ASK, how, *words(run)]
    done = subprocess.run(given, capture_output=True, check=False)
    said = done.stderr.decode("utf-8")
    assert done.returncode == (143 if how == "SIGTERM" else INTERRUPTED), said
    by = f"the file {run.folder / 'stop'}" if how == "file" else how
    assert f"stopped by {by} after step 5, and saved; go on with --resume" in said
    assert not (run.folder / "stop").exists()
    assert json.loads(checkpoint.read(run.folder / "last.safetensors")[1]["progress"])["step"] == 5
    assert call(words(run)) == 0
    assert weights_of(run) == whole
    assert [line["step"] for line in lines(run)] == list(range(1, 11))


TWICE = """
import os, signal, sys
from pathlib import Path
from oncoseg.train.keep import Stop
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
with Stop(Path(sys.argv[1])) as stop:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked == "SIGINT"
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit(7)
"""


def test_a_second_signal_acts_at_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", TWICE, str(tmp_path)], check=False)
    assert done.returncode == 7


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path):
    seen = []

    def inside():
        with module.Stop(tmp_path):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


KILL = """
import os, random, signal, sys
from oncoseg import checkpoint
from oncoseg.__main__ import call
stage, number = sys.argv[1], int(sys.argv[2])
calls = []

def kill_in(module, name):
    genuine = getattr(module, name)
    def wrapped(*given, **options):
        calls.append(name)
        if len(calls) == number:
            if name == "save_file":
                given[1].write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return genuine(*given, **options)
    setattr(module, name, wrapped)

kill_in({"save_file": checkpoint, "link": os, "_step": __import__(
    "oncoseg.train.loop", fromlist=["Loop"]).Loop}[stage], stage)
sys.exit(call(sys.argv[3:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_in_and_between_saves_resumes_to_the_same_bits(run, whole):
    for stage, number in (("save_file", 1), ("save_file", 3), ("link", 3), ("_step", 3)):
        given = [sys.executable, "-c", KILL, stage, str(number), *words(run)]
        done = subprocess.run(given, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        if stage == "save_file":
            assert list(run.folder.glob(".*.part.*"))
    assert call(words(run)) == 0
    assert weights_of(run) == whole
    assert [line["step"] for line in lines(run)] == list(range(1, 11))
    assert not list(run.folder.glob(".*.part.*"))


def test_a_run_that_ended_makes_no_further_step(run, whole, monkeypatch):
    train(run)
    Path(run.to).unlink()  # as one that is killed while it writes the model
    monkeypatch.setattr(Loop, "_step", None)
    train(run, resume=True)
    assert weights_of(run) == whole
    clock = replace(run, steps=0, minutes=0.0001)
    ended = loop_of(clock)
    ended.progress.seconds = 60.0
    ended()


def test_between_epochs_it_saves_so_that_a_kill_costs_minutes(run, monkeypatch):
    saved = []
    genuine = checkpoint.save

    def counted(path, modules, optimiser, progress):
        saved.append(progress.step)
        return genuine(path, modules, optimiser, progress)

    monkeypatch.setattr(checkpoint, "save", counted)
    loop_of(replace(run, steps=40))()
    assert saved == list(range(0, 41, 2))
    saved.clear()
    monkeypatch.setattr(module, "EVERY", 0.0)
    shutil.rmtree(run.folder)
    loop_of(replace(run, steps=40))()
    assert saved == list(range(41))


def test_two_runs_in_one_folder_are_refused(run):
    with files.alone(run.folder / ".lock"):
        given = [sys.executable, "-m", "oncoseg", *words(run)]
        done = subprocess.run(given, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"another process is at work there; wait for it" in done.stderr
    assert not (run.folder / "last.safetensors").exists()


def test_half_a_line_of_metrics_and_those_to_be_made_again_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    module.note(path, {"step": 2, "dice": {}}, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 2, "dice": {}}\n'


def test_deterministic_training_is_bounded_by_steps_and_refuses_what_is_not(run, whole):
    exact = replace(run, deterministic=True)
    train(exact)
    assert weights_of(exact) == whole  # on a CPU it is so anyway
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(BadRun, match="by the clock never gives the same weights twice"):
        replace(exact, steps=0, minutes=1.0).check()
    sentence = "x does not have a deterministic implementation, but you set"
    with (
        pytest.raises(BadRun, match="train on the cpu, or without --deterministic"),
        module.deterministic(wanted=True),
    ):
        raise RuntimeError(sentence)
    with pytest.raises(RuntimeError, match="else"), module.deterministic(wanted=True):
        raise RuntimeError("anything else")


def test_going_on_elsewhere_is_said_where_bits_matter(run, caplog):
    first = loop_of(replace(run, deterministic=True))
    first.progress.where = "torch 1 on an abacus"
    first()
    assert "begun with torch 1 on an abacus, now it is torch" in warnings_of(caplog)[0]


def test_another_seed_is_another_run(run):
    train(run)
    with pytest.raises(BadRun, match="was begun with seed"):
        train(replace(run, seed=1), resume=True)


def test_stopped_has_its_own_exit_code(monkeypatch, capsys):
    def stopped(*_, **__):
        raise Stopped("stopped by SIGTERM")

    monkeypatch.setattr("oncoseg.__main__.act", stopped)
    assert call(["train"]) == INTERRUPTED
    assert "stopped by SIGTERM" in capsys.readouterr().err
