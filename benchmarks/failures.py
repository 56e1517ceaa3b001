"""What `oncoseg predict` leaves when it fails: each kind of failure, many times, then a restart.

    python benchmarks/failures.py                 # 24 trials of each kind, prints JSON
    python benchmarks/failures.py --trials 2 kill full
    python benchmarks/failures.py --write         # results/failures.json as well

A small network and four made scans, predicted by the real command. In half of the trials the
failure comes at a random moment of the whole run, in the other half at a random call of a function
inside writing a case. `memory`: the address space is closed to what is taken at that moment, and
some. `full`: predictions go to a disk (tmpfs, in a name space of its own; else a limit on the size
of files) with so little room. `kill`, `term`: signals. `nan`: the engine gives one NaN or infinity
in a random window, in reduced precision and in float32. `crash`: the engine raises, or aborts.

A trial is right if what is there under its real name is whole and what an undisturbed run gave
(labels to the byte), whatever has a record is whole, and the same command again keeps these cases,
finishes the rest, and leaves nothing else. Where the process could say so (all but `kill` and an
abort), nothing half-written and no label map without a record was left before that either. A
process that has not ended after `HANGS_S` seconds hangs, which is wrong.
"""

import argparse
import functools
import json
import multiprocessing
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from oncoseg import __main__ as command
from oncoseg import files, phantom, registry, results
from oncoseg import predict as predicting
from oncoseg.model import save_model
from oncoseg.predict import engines, predict
from oncoseg.prepare.plan import Normalisation, Plan

HERE = Path(__file__).parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["oncoseg.__main__", "oncoseg.predict", "openvino", __name__])
KINDS = ("memory", "full", "kill", "term", "nan", "crash")
CASES, SIZE, PATCH, WINDOWS = 4, 64, 32, 100
NETWORK = "unet:width=4,blocks=1"
TRIALS = 24
TERMINATED = 143
HANGS_S = 60


def model(folder):
    """A model file of an untrained network, and a cohort for it."""
    import torch  # noqa: PLC0415 - what fails does without

    task, cases = phantom.world(7, CASES, size=SIZE)
    for case in cases:
        phantom.write(case, folder / "scans", layout="folders")
    torch.manual_seed(0)
    task = replace(task, patch=(PATCH,) * 3, strides=((2, 2, 2),) * 2)
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    network = registry.build("networks", NETWORK, task)
    save_model(folder / "m.onco", network, NETWORK, plan, {"name": "untrained"}, "none")


# What runs in the process that fails.


class Moment:
    """Does something once, at the `count`th call or return of a function."""

    def __init__(self, count, act):
        self.count, self.act, self.seen = count, act, 0

    def __call__(self, frame, event, argument):
        """Take one into account."""
        self.seen += 1
        if self.seen == self.count:
            sys.setprofile(None)
            self.act()


def inside(module, name, moment):
    """Count calls while a function of a module runs alone."""
    function = getattr(module, name)

    @functools.wraps(function)
    def watched(*given, **options):
        sys.setprofile(moment if moment.seen < moment.count else None)
        try:
            return function(*given, **options)
        finally:
            sys.setprofile(None)

    setattr(module, name, watched)


def scarce(spare):
    """Close the address space to what is taken now, and `spare` bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + spare
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def broken_engine(order):
    """Let the engine fail in one window."""
    run, seen = engines.OpenVino._run, [0]

    def wrapped(self, network, image, present):
        seen[0] += 1
        found = run(self, network, image, present)
        if seen[0] >= order["window"] and (order["always"] or seen[0] < order["window"] + 2):
            if order["kind"] == "nan":
                found = found.copy()
                found.flat[order["voxel"] % found.size] = order["value"]
            elif order["abort"]:
                os.abort()
            else:
                with engines._refusing(self.model, "its graph failed"):
                    raise RuntimeError("the engine failed")
        return found

    engines.OpenVino._run = wrapped


def child(order):
    """`oncoseg predict` with what is ordered to go wrong."""
    acts = {
        "memory": lambda: scarce(order["spare"]),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "count": lambda: None,
    }
    if order["kind"] in {"nan", "crash"}:
        broken_engine(order)
    elif order["kind"] in acts:
        moment = Moment(order["count"], acts[order["kind"]])
        inside(*((results, "save") if order["writing"] else (predicting, "predict")), moment)
    elif order["kind"] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["room"], order["room"]))
    sys.argv = ["oncoseg", *order["words"]]
    done = command.main()
    if order["kind"] == "count":
        print(json.dumps({"calls": moment.seen}))
    return done


# What starts it, and looks at what is left.


def words(folder, to):
    """The command line."""
    given = ["predict", folder / "m.onco", folder / "scans", "--to", to, "--probabilities"]
    return [str(word) for word in given]


def start(order, folder):
    """The exit code of a disturbed run (None if it hangs), and what it said.

    The process is new, but forked from one that has imported everything and done nothing.
    """
    said = folder / "said.txt"
    process = FORKS.Process(target=alone, args=(order, str(said)))
    process.start()
    process.join(HANGS_S)
    code = process.exitcode
    process.kill()
    process.join()
    return code, said.read_text(encoding="utf-8")


def alone(order, said):
    """`child` in a process of its own; ends as the interpreter would."""
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    try:
        code = child(order)
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.exit(code)


def restart(folder, to):
    """The same again, undisturbed: cases that were kept, and failures."""
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stderr(nothing):
        outcome = predict(folder / "m.onco", folder / "scans", to=to, probabilities=True)
    return outcome.kept, outcome.failed


def content(to):
    """File name -> bytes, but for records, whose times differ; hidden files too."""
    found = {path.name: path for path in to.iterdir()} if to.exists() else {}
    return {name: p.read_bytes() for name, p in found.items() if not name.endswith(".json")}


def recorded(to):
    """Cases that have a record, each of which must be whole."""
    return {case for case, path in results.find(to).items() if results.load(path)}


def faults(folder, to, right, *, polite):
    """What is wrong after a failure, and after the command was given again; and cases kept."""
    wrong, left = [], content(to)
    for name, held in left.items():
        case = name.split(".")[0]
        if name.startswith("."):
            wrong += [f"half-written {name}"] * polite
        elif held != right.get(name):
            wrong.append(f"{name} is not what it is")
        elif polite and not (to / f"{case}.json").exists():
            wrong.append(f"{name} has no record")
    whole = recorded(to) if to.exists() else set()
    kept, failed = restart(folder, to)
    if failed:
        wrong.append(f"restart: {failed}")
    if set(kept) != whole:
        wrong.append(f"kept {kept}, whole were {sorted(whole)}")
    if content(to) != right or len(recorded(to)) != CASES:
        wrong.append("after the restart something differs or lies about")
    return wrong, len(whole)


def trial(kind, chance, folder, to, calls, right):
    """One failure: what was wrong, cases that were whole before the restart, and the exit code."""
    writing = chance.random() < 0.5
    order = {
        "kind": kind,
        "words": words(folder, to),
        "writing": writing,
        "count": chance.randrange(1, calls["writing" if writing else "whole"]),
        "spare": chance.choice([0, 0, 1 << 16, 1 << 20]),
        "window": chance.randrange(1, WINDOWS),
        "always": chance.random() < 0.5,
        "voxel": chance.randrange(1 << 30),
        "value": chance.choice([float("nan"), float("inf")]),
        "abort": chance.random() < 0.5,
    }
    filler = to / "filler"
    if kind == "full":
        room = chance.randrange(1, sum(map(len, right.values())) * 5 // 4)
        if os.path.ismount(to):
            free = os.statvfs(to).f_bavail * os.statvfs(to).f_frsize
            filler.write_bytes(bytes(max(0, free - room)))
            order["kind"] = "none"
        else:
            order |= {"kind": "limit", "room": room // 8}
    code, said = start(order, folder)
    filler.unlink(missing_ok=True)
    polite = code is not None and code >= 0
    wrong, whole = faults(folder, to, right, polite=polite)
    if code is None:
        wrong.append("hangs")
    if "Traceback" in said:
        wrong.append(f"a traceback: {said[-400:]}")
    if kind == "term" and code not in {TERMINATED, 0, -signal.SIGTERM}:
        wrong.append(f"SIGTERM gave {code}")
    return wrong, whole, code


def disk(to):
    """A small disk at `to`, if this process may mount one."""
    to.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(to)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def cleared(to):
    """The folder of a trial, empty."""
    if to.exists():
        for path in to.iterdir():
            path.unlink()
    return to


def run(kinds, trials, folder):
    """A row a kind."""
    model(folder)
    to = folder / "out"
    assert not restart(folder, to)[1]
    right, calls = content(to), {}
    for name in ("writing", "whole"):
        cleared(to)
        writing = name == "writing"
        order = {"kind": "count", "words": words(folder, to), "writing": writing, "count": 1 << 60}
        calls[name] = json.loads(start(order, folder)[1].split("\n")[-2])["calls"]
    small = folder / "disk"
    mounted = disk(small)
    rows = {}
    for kind in kinds:
        began, where = time.perf_counter(), small if kind == "full" and mounted else to
        tried = []
        for seed in range(trials):
            chance = random.Random(f"{kind} {seed}")
            tried.append(trial(kind, chance, folder, cleared(where), calls, right))
        codes = [code for *_, code in tried]
        rows[kind] = {
            "trials": trials,
            "wrong": {seed: wrong for seed, (wrong, *_) in enumerate(tried) if wrong},
            "exit codes": {str(code): codes.count(code) for code in sorted(set(codes), key=str)},
            "cases whole before the restart": [whole for _, whole, _ in tried],
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(f"{kind}: {rows[kind]}", file=sys.stderr)
    if mounted:
        subprocess.run(["umount", str(small)], check=False)
    return {"calls": calls, "full disk": "tmpfs" if mounted else "limit of files", "kinds": rows}


def main():
    """Run what was asked for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("kinds", nargs="*", help=f"{', '.join(KINDS)}; all")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(chosen.kinds or KINDS, chosen.trials, Path(folder))
    line = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(line, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    found = {"machine": machine, "commit": commit.stdout.strip(), **found}
    print(json.dumps(found))
    if chosen.write:
        files.write_json(HERE / "results" / "failures.json", found)
    return int(any(row["wrong"] for row in found["kinds"].values()))


if __name__ == "__main__":
    sys.exit(main())
