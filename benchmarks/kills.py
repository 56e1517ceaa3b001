"""Trainings that are killed at random instants: does each go on, and end with the same weights?

    python benchmarks/kills.py --kills 200 --to kills/

Each training goes through the command line, `oncoseg train DATA --to MODEL --resume`, on a small
phantom world, and is killed (SIGKILL) again and again until it ends: while it prepares, trains,
validates and writes its model, at instants drawn evenly from the time it takes, and for a quarter
of the kills or more while a checkpoint is being written. A kill counts as resumed if the next call
makes no complaint. What ends is compared with a training that nothing happened to: weights and
post-hoc steps of the model, tensors of the checkpoint and steps in metrics.jsonl. Needs fork (not
Windows). Each training has a process of its own, and so an order of sets of its own; the calls
within are forks of it. Prints JSON. The sources must not change meanwhile: other code may round to
other bits.
"""

import argparse
import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from oncoseg import __version__, checkpoint, phantom
from oncoseg.__main__ import call
from oncoseg.model import open_model

STEPS, SHARE = 40, 0.25
STAGES = {b"p": "prepare", b"t": "train", b"s": "save", b"f": "finish"}


def words(folder):
    """A training of some seconds, with every default that draws random numbers."""
    return [
        *("train", str(folder.parent / "data"), "--to", str(folder / "model.onco"), "--resume"),
        *("--network", "unet:width=4", "--steps", str(STEPS), "--batch", "2", "--device", "cpu"),
        *("--labels", "c1=1,c2=2", "--hold", "world_000", "--deterministic", "--workers", "1"),
    ]


def make(to):
    """A world of six patients in 2-D."""
    shutil.rmtree(to, ignore_errors=True)
    for case in phantom.world(2, 6, dims=2, size=32)[1]:
        phantom.write(case, to / "data", layout="folders")


def telling(tell):
    """Let the program tell where it is: a letter whenever a stage begins."""
    from oncoseg import train  # noqa: PLC0415 - of the process that is killed
    from oncoseg.train.loop import Loop  # noqa: PLC0415

    def around(where, name, before, after):
        genuine = getattr(where, name)

        def wrapped(*given, **options):
            tell(before)
            try:
                return genuine(*given, **options)
            finally:
                tell(after)

        setattr(where, name, wrapped)

    module = sys.modules["oncoseg.train"] if not hasattr(train, "finish") else train
    around(Loop, "__call__", b"t", b"f")
    around(checkpoint, "save", b"s", b"t")
    around(module, "finish", b"f", b"f")


def start(folder):
    """The program in a fork; gives its number and the pipe in which it tells where it is."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    with (folder / "log.txt").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        telling(lambda letter: os.write(theirs, letter))
        os.write(theirs, b"p")
        os._exit(call(words(folder)))


def watched(pid, pipe, draw, saving, span):
    """Kill at an instant; gives the stage it was in, or "" and the exit code if it ended before."""
    stage, until, saves = b"p", time.monotonic() + draw.uniform(0, span), draw.randrange(1, 12)
    while True:
        left = 30.0 if saving else max(0.0, until - time.monotonic())
        if select.select([pipe], [], [], left)[0]:
            for letter in os.read(pipe, 4096) or [None]:
                if letter is None:
                    return "", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                stage = bytes([letter])
                saves -= saving and stage == b"s"
            if not (saving and saves <= 0 and stage == b"s"):
                continue
            pause = time.perf_counter() + draw.uniform(0, 0.008)
            while time.perf_counter() < pause:
                pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while told := os.read(pipe, 4096):
            stage = told[-1:]
        return STAGES[stage], -signal.SIGKILL


def episode(folder, kills, seed, span):
    """One training from its data to its model, killed so many times if it takes so long."""
    draw, counted = random.Random(seed), Counter()
    folder.mkdir()
    while True:
        began = time.monotonic()
        pid, pipe = start(folder)
        saving = draw.random() < 1.3 * SHARE  # some miss the save, which is short
        limit = span if sum(counted.values()) < kills else 1e9
        stage, code = watched(pid, pipe, draw, saving and limit < 1e9, limit)
        os.close(pipe)
        if stage:
            counted[stage] += 1
        else:
            counted["failed"] += code != 0
            return counted, code, time.monotonic() - began


def ended(folder):
    """What a training has left: digests of what it learned and its checkpoint, and its steps."""
    members = open_model(folder / "model.onco").members
    learned = members["weights.safetensors"] + members["posthoc.json"]
    tensors, _ = checkpoint.read(folder / "model.run" / "last.safetensors")
    lines = (folder / "model.run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    left = [path.name for path in (folder / "model.run").rglob("*.part.*")]
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode() + value.numpy().tobytes())
    steps = [json.loads(line)["step"] for line in lines]
    return hashlib.sha256(learned).hexdigest(), digest.hexdigest(), steps, left


def one(folder, kills, seed, span):
    """An episode in a process of its own."""
    given = [sys.executable, __file__, "--one", str(folder), str(kills), str(seed), str(span)]
    found = subprocess.run(given, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout)


def main(kills, to):
    """All episodes, and what they amount to."""
    make(to)
    began = time.monotonic()
    span, wanted = one(to / "whole", 0, 0, 1e9)["seconds"], ended(to / "whole")
    counted, trainings, equal, seed, failures = Counter(), 0, 0, 0, []
    while sum(counted[name] for name in STAGES.values()) < kills:
        seed += 1
        folder = to / f"{seed:03d}"
        record = one(folder, min(12, kills), seed, span)
        counted.update(record["kills"])
        trainings += 1
        same = record["code"] == 0 and ended(folder) == wanted
        equal += same
        if same:
            shutil.rmtree(folder)
        else:
            failures.append(folder.name)
        print(f"{dict(counted)} {equal} of {trainings} equal", file=sys.stderr)
    total = sum(counted[name] for name in STAGES.values())
    return {
        "kills": total,
        "resumed": total - counted["failed"],
        "in_a_save": counted["save"],
        "by_stage": {name: counted[name] for name in STAGES.values()},
        "trainings": trainings,
        "equal_to_the_bit": equal,
        "failures": failures,
        "steps": STEPS,
        "seconds": round(time.monotonic() - began),
        "oncoseg": __version__,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--to", type=Path, default=Path("kills"))
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.one:
        place, number, first, seconds = asked.one
        told, last, took = episode(Path(place), int(number), int(first), float(seconds))
        print(json.dumps({"kills": told, "code": last, "seconds": took}))
    else:
        print(json.dumps(main(asked.kills, asked.to.resolve()), indent=2))
