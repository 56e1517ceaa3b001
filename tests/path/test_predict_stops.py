"""What predicting leaves when it is stopped: whole cases and nothing else, and a way to go on."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oncoseg import phantom, results, threads
from oncoseg.__main__ import call
from oncoseg.errors import BadFile
from oncoseg.prepare.plan import Normalisation, Plan

CASES = 3


class Opened:
    """A model that needs no training."""

    maps, card, path, described = (), {}, Path("m.onco"), {"name": "stand-in", "sha256": "0"}
    posthoc = {}
    unlikeness = staticmethod(lambda scan: {})

    def __init__(self, task):
        scheme = {name: Normalisation() for name in task.modalities}
        self.plan = Plan(replace(task, patch=(8, 8, 8)), scheme)
        self.task = self.plan.task


def stand_in(monkeypatch, infer=lambda values: values):
    """Put a model in the place of any, and let `infer` change what it gives."""
    task, _ = phantom.world(3, 1, size=16)

    def engine(image, present):
        return infer(np.repeat(image[:, :1], task.outputs, axis=1))

    monkeypatch.setattr("oncoseg.predict.open_model", lambda model: Opened(task))
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *options: engine)


@pytest.fixture
def world(tmp_path):
    for case in phantom.world(3, CASES, size=16)[1]:
        phantom.write(case, tmp_path / "scans", layout="folders")
    return tmp_path


def command(folder):
    return ["predict", "m", str(folder / "scans"), "--to", str(folder / "out"), "--probabilities"]


def finishes(folder, monkeypatch, capsys, whole):
    """The same command does the rest, and leaves what an undisturbed one leaves."""
    out = folder / "out"
    assert {name for name, path in results.find(out).items() if results.load(path)} == set(whole)
    with monkeypatch.context() as patch:
        stand_in(patch)
        assert call(command(folder)) == 0
        capsys.readouterr()
        again = {path.name for path in out.iterdir()}
        assert len(results.find(out)) == CASES
        folder = folder / "undisturbed"
        folder.mkdir()
        (out.parent / "scans").rename(folder / "scans")
        assert call(command(folder)) == 0
    assert again == {path.name for path in (folder / "out").iterdir()}
    for name in again:
        if not name.endswith(".json"):
            assert (out / name).read_bytes() == (folder / "out" / name).read_bytes()


def nan(values):
    values[0, 0, 1, 2, 3] = np.nan
    return values


def raises(values):
    raise BadFile("m.onco", "its graph failed", "use another")


def memory(values):
    raise MemoryError


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (nan, "gives values that are no numbers"),
        (raises, "its graph failed"),
        (memory, "the machine has no more memory"),
    ],
)
@pytest.mark.parametrize("window", [0, 40])
def test_a_failure_in_one_window_is_one_case(world, monkeypatch, capsys, failure, sentence, window):
    seen = []

    def once(values):
        seen.append(0)
        return failure(values) if len(seen) == window + 1 else values

    stand_in(monkeypatch, once)
    assert call(command(world)) == 1
    assert sentence in capsys.readouterr().err
    assert not list((world / "out").glob(".*"))
    whole = results.find(world / "out")
    assert len(whole) == CASES - 1
    monkeypatch.undo()
    finishes(world, monkeypatch, capsys, whole)


SCRIPT = """
import os, sys
from pathlib import Path
import pytest
sys.path.insert(0, {tests!r})
from test_predict_stops import stand_in
from oncoseg import results
from oncoseg.__main__ import call
patch = pytest.MonkeyPatch()
stand_in(patch)
save, seen, saved = results.save, [0], [0]

def count(frame, event, argument):
    seen[0] += 1
    if seen[0] == {at}:
        sys.setprofile(None)
        os.kill(os.getpid(), {signal})

def watched(*given, **options):
    saved[0] += 1
    if saved[0] == 2:
        sys.setprofile(count)
    try:
        return save(*given, **options)
    finally:
        sys.setprofile(None)

results.save = watched
sys.exit(call({words!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("at", [5, 700, 2500])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_a_case_is_written(world, monkeypatch, capsys, number, at):
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), at=at, signal=int(number), words=command(world)
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    whole = results.find(world / "out")
    assert len(whole) == 1, found.stderr
    names = {path.name.split(".")[0] for path in (world / "out").iterdir()}
    if number == signal.SIGTERM:
        assert found.returncode == 143
        assert found.stderr.endswith("what was finished is kept, run the same again for the rest\n")
        assert names == set(whole)
    else:
        assert found.returncode == -signal.SIGKILL
    finishes(world, monkeypatch, capsys, whole)


def test_no_thread_is_started_once_the_first_case_is_read(world, monkeypatch):
    start, started, early = threading.Thread.start, [], []

    def counted(thread):
        started.append(thread)
        start(thread)

    def once(values):
        early.append(len(started))
        return values

    stand_in(monkeypatch, once)
    monkeypatch.setattr(threading.Thread, "start", counted)
    assert call(command(world)) == 0
    assert len(started) == early[0] > 1


def test_threads_without_room_are_refused_at_once():
    with pytest.raises(MemoryError):
        threads.started(1 << 24)


SCARCE = """
import resource, sys
from pathlib import Path
import pytest
sys.path.insert(0, {tests!r})
from test_predict_stops import stand_in
from oncoseg.__main__ import main
seen = []

def scarce(values):
    seen.append(0)
    if len(seen) == {at}:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + {spare}
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return values

stand_in(pytest.MonkeyPatch(), scarce)
sys.argv = ["oncoseg", *{words!r}]
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize(("at", "spare"), [(1, 0), (20, 0), (40, 1 << 16)])
def test_without_memory_it_ends(world, monkeypatch, capsys, at, spare):
    script = SCARCE.format(
        tests=str(Path(__file__).parent), at=at, spare=spare, words=command(world)
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode in {0, 1}  # what is freed on the way may be enough
    assert "Traceback" not in found.stderr
    assert ("no more memory" in found.stderr) == (found.returncode == 1)
    whole = results.find(world / "out")
    assert (len(whole) == CASES) == (found.returncode == 0)
    finishes(world, monkeypatch, capsys, whole)
