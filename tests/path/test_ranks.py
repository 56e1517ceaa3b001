"""Processes that train together: as one that has the whole batch, and as safe."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncoseg import checkpoint
from oncoseg.errors import BadRun
from oncoseg.train import train
from runs import toy_data, toy_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs gloo, and asks in /proc")

# Adam makes steps of full size from the rounding of a gradient that should be 0: plain descent.
PLAIN = """
import sys
import torch
from oncoseg import __main__
from oncoseg.train import loop

def plain(parameters, lr, weight_decay):
    return torch.optim.SGD(parameters, lr=lr)

def main(change=None):
    torch.optim.AdamW = plain
    if change:
        loop.Loop._step = change(loop.Loop._step)
    sys.exit(__main__.main())
"""
RUN = PLAIN + "main()\n"
# What comes of one share alone is no number, once; then both wait, to be killed.
BROKEN = (
    PLAIN
    + """
import time
from pathlib import Path

def change(genuine):
    def step(self, batch, number):
        if number == 3 and not self.progress.broke and self.ranks.index == 1:
            batch = batch.but(image=batch.image * float("nan"))
        if number == 4:
            (self.run.folder / f"at_{self.ranks.index}").write_text("4")
            time.sleep(1)
        return genuine(self, batch, number)
    return step

main(change)
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run on cases of which some were searched for one region alone, so that shares differ."""
    folder = tmp_path_factory.mktemp("ranks")
    task, cases = toy_data(folder / "data", 2, 6, dims=2, size=24)
    rows = [f"{case.id}\t{'c1' if place < 2 else ''}" for place, case in enumerate(cases)]
    (folder / "data" / "cases.tsv").write_text("\n".join(["case\tannotated", *rows]) + "\n")
    return folder, toy_run(
        folder,
        task,
        to=str(folder / "one.onco"),
        augmentations=(),
        hold=("world_005",),
        steps=6,
        rate=0.1,
        batch=4,
    )


def begun(script, run, folder, *words):
    """torchrun of a script with the words of a training, in two processes."""
    toml = run.write(folder / f"{Path(run.to).stem}.toml")
    (folder / "script.py").write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*launch, "--", str(folder / "script.py"), "train", "--run", str(toml), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def done(*given):
    process = begun(*given)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def weights(run):
    tensors, header = checkpoint.read(run.folder / "last.safetensors")
    return tensors, json.loads(header["progress"])["step"]


def lines(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def furthest(one, other):
    assert one.keys() == other.keys()
    return max(float((value.double() - other[name]).abs().max()) for name, value in one.items())


def test_two_processes_learn_what_one_does_of_the_whole_batch(world, monkeypatch):
    folder, run = world
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", lambda some, lr, **_: torch.optim.SGD(some, lr=lr))
        train(run)
    two = replace(run, to=str(folder / "two.onco"))
    said = done(RUN, two, folder)
    assert said.count("the model is") == 1
    (one, step), (both, last) = weights(run), weights(two)
    assert step == last == 6
    assert furthest(one, both) < 1e-5
    for line, other in zip(lines(run), lines(two)):
        assert line["loss"]["segmentation"] == pytest.approx(other["loss"]["segmentation"], 1e-5)
        assert line["dice"] == pytest.approx(other["dice"], abs=1e-3)


def waited(path):
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")


def below(process):
    """The processes that it has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


def test_whatever_happens_to_one_happens_to_all_and_nothing_is_lost(world):
    folder, run = world
    whole, run = (replace(run, to=str(folder / f"{name}.onco"), steps=8) for name in ("w", "k"))
    said = done(BROKEN, whole, folder)
    assert said.count("loss or gradient is no longer a number at step 4; going back to step 3") == 1
    assert [line["step"] for line in lines(whole) if "broke" in line] == [3]
    # One process is killed: both end.
    process = begun(BROKEN, run, folder)
    waited(run.folder / "at_1")
    killed = below(process.pid)[-1]
    os.kill(killed, signal.SIGKILL)
    said = process.communicate()[0]
    assert process.returncode != 0
    assert "another process of this training has ended" in said
    for rank in range(2):
        (run.folder / f"at_{rank}").unlink()
    # The launcher is asked to end: one saves, and says so.
    process = begun(BROKEN, run, folder, "--resume")
    waited(run.folder / "at_0")
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    assert process.returncode != 0
    assert said.count("stopped by SIGTERM after step 5, and saved") == 1
    assert weights(run)[1] == 5
    done(BROKEN, run, folder, "--resume")
    assert furthest(weights(run)[0], weights(whole)[0]) == 0
    assert [line["step"] for line in lines(run)] == [line["step"] for line in lines(whole)]


def test_what_cannot_be_shared_is_one_sentence(world, monkeypatch):
    folder, run = world
    odd = replace(run, to=str(folder / "odd.onco"), batch=3)
    process = begun(RUN, odd, folder)
    said = process.communicate()[0]
    assert process.returncode != 0
    assert said.count("a batch of 3 cannot be shared evenly by 2 processes; give --batch 4") == 1
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    with pytest.raises(BadRun, match="--folds is several trainings"):
        train(replace(run, folds=2, fold=-1, hold=()))


EVERY = """
import atexit
import os
import sys
import torch
import torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from worlds import TASKS, build_method, make_batch, shown
from oncoseg import registry
from oncoseg.train.ranks import Step, joined

def threads():
    return {open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")}

# A thread of the group that is still there when Python ends may abort the process.
atexit.register(lambda: print("left:", any("gloo" in name for name in threads()), flush=True))
with joined("cpu") as ranks:
    for name in registry.names("methods"):
        task = TASKS["2-D regions"]
        method = build_method(name, task).train()
        ranks.share(method.loss)
        parameters = [value for part in method.trained for value in part.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=3e-3)
        for step in range(3):
            batch = shown(make_batch(task, size=4, seed=step), name)[ranks.index :: 2]
            torch.manual_seed(step + 100 * ranks.index)
            method.update(batch, step, Step(optimiser, ranks))
            method.after_step(step)
            ranks.follow(method.buffers())
        for key, value in method.state_dict().items():
            first = value.clone()
            ranks.follow([first])
            if not torch.equal(first, value):
                sys.exit(f"{name}: {key} differs")
print("all methods")
"""


def test_every_method_keeps_all_processes_alike(tmp_path):
    (tmp_path / "every.py").write_text(EVERY)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    given = [*launch, "--", str(tmp_path / "every.py"), str(Path(__file__).parents[1])]
    found = subprocess.run(given, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("all methods") == 1
    assert "left: False" in found.stdout
    assert "left: True" not in found.stdout
