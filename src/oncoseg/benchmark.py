"""Benchmark: networks trained equally long on the same cases, then compared with what they cost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, memory, registry
from oncoseg.bar import bar
from oncoseg.compare import Comparison, compare
from oncoseg.compare.records import Extra
from oncoseg.errors import BadRun, Busy, OncosegError, Stopped
from oncoseg.machine import machine
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.prepare import held_out, open_store
from oncoseg.run import EACH, Run
from oncoseg.verb import called

ALL = "all"
FIRST = "unet"  # what all others are held against
FEW = 0.9  # of its Dice, below which a network is named
LOOK = 0.2  # seconds between two looks at the memory
FAILED = 1
STOPPED = (130, 143)


@dataclass(frozen=True)
class Trial:
    """A network on trial: its run, where its predictions lie, and the record of how it went."""

    name: str
    run: Run
    predictions: Path
    record: Path

    @property
    def said(self) -> dict[str, Any]:
        """What the record says; nothing before it has ended."""
        return dict(files.read_json(self.record)) if self.record.exists() else {}


def benchmark(
    run: Run,
    to: Path,
    networks: Sequence[str] = (ALL,),
    *,
    protocol: str = "ubench",
    limit: str = "",
    cluster: str = "",
    pictures: bool = True,
) -> Comparison:
    """Train every network as `run` says, predict the held-out cases, and compare.

    Each has the same cases, plan, patches, minutes and seed, and processes of its own: one to
    train, and one to predict as a user would. `networks` are spelt `name:option=value`; `all` are
    those that the run's method can train. The first, or the default U-Net, is what others are held
    against. One that fails, or takes more memory than `limit` (as `8GB`), is in the table with the
    reason. What is finished stays when it is called again. `cluster` is the address of a Ray
    cluster that tries them at once. Writes `comparison.html` and what belongs to it to the folder
    `to`; without `pictures` the page shows no scan.

    Raises `BadRun` if no case is held out, the folder holds another benchmark, or fewer than two
    networks could be tried.
    """
    from oncoseg.train import prepared, resolved  # noqa: PLC0415 - needs torch
    from oncoseg.train.several import several  # noqa: PLC0415 - needs torch

    if not run.hold and (run.folds < 2 or run.fold == EACH):
        raise BadRun("networks are compared on cases held out of all: say which, with --fold 0")
    shared = resolved(replace(run, network="", to=str(Path(to).absolute() / "shared.onco")))
    most = memory.size(limit) if limit else 0
    trials, left = trials_of(shared, Path(to).absolute(), networks)
    store = prepared(shared)
    held = held_out(open_store(store), run.folds, run.fold, run.hold, run.apart)[1]
    cases = [case.id for case in held if case.labeled]
    todo = {one.name: (one, store, cases, most) for one in trials if not one.said}
    for _ in bar(several(tried, todo, shared, cluster), "networks", total=len(todo)):
        pass
    found = [one for one in trials if "failed" not in one.said]
    if len(found) < 2:
        failed = {one.name: one.said["failed"] for one in trials if one not in found}
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise BadRun(f"fewer than two networks could be tried: {reasons or 'give two or more'}")
    folders = [one.predictions for one in found]
    comparison = compare(folders, Path(run.data), protocol=protocol, cases=cases)
    extras = (learned(trials), *comparison.extras)
    notes = (*comparison.notes, *left, *mixed(trials))
    comparison = replace(comparison, extras=extras, notes=notes)
    comparison.write(Path(to), pictures=pictures)
    return comparison


def trials_of(shared: Run, to: Path, networks: Sequence[str]) -> tuple[list[Trial], list[str]]:
    """The trials, that of the first network first, and a sentence on each that cannot be one.

    Raises what `Run.check` does for a network that was asked for by name.
    """
    trials, left = [], []
    every = [entry.name for entry in registry.entries("networks")]
    spelt = [each for text in networks for each in (every if text == ALL else [text])]
    spelt.sort(key=lambda text: text != FIRST)
    for text in dict.fromkeys(spelt):
        name = text.replace(":", "_").replace(",", "_")
        network = shared.network if text == FIRST else text
        run = replace(shared, network=network, to=str(to / "models" / f"{name}.onco"), name=name)
        try:
            run.check()
        except BadRun as error:
            if ALL not in networks:
                raise
            left.append(f"{text} was not tried: {error}.")
            continue
        _refuse_another(run)
        places = to / "predictions" / files.plain_name(name), to / "trials" / f"{name}.json"
        trials.append(Trial(name, run, *places))
    return trials, left


def _refuse_another(run: Run) -> None:
    """What was begun must be what is asked for."""
    begun = run.folder / "run.toml"
    if begun.exists() and Run.read(begun) != run:
        was = vars(Run.read(begun))
        name = next(key for key, value in vars(run).items() if was[key] != value)
        raise BadRun(f"{run.to} was begun with another {name}; give another folder with --to")


def tried(trial: Trial, store: Path, cases: Sequence[str], limit: int) -> None:
    """Train and predict, each in a process of its own, and write the record."""
    import torch  # noqa: PLC0415

    given = torch.get_num_threads(), limit
    for work, words in ((learn, (trial, store)), (infer, (trial, cases))):
        code = _alone(work, *words, *given)
        if code in STOPPED:
            raise Stopped(f"stopped while {trial.name} was tried; the same command goes on", code)
        if code == Busy.code:
            raise Busy(f"another process tries {trial.name} in this folder; wait until it is done")
        if code and "failed" not in trial.said:
            cause = f"its process ended with exit code {code}, see what it printed"
            files.write_json(trial.record, {"failed": cause})
        if "failed" in trial.said:
            return


def _alone(work: Callable[..., None], *words: Any) -> int:
    """The exit code of a process that does it; of one that a signal ended as a shell says it."""
    process = multiprocessing.get_context("spawn").Process(target=_followed, args=(work, *words))
    process.start()
    try:
        process.join()
    finally:
        process.terminate()  # of no effect once it has ended
    code = process.exitcode or 0
    return code if code >= 0 else 128 - code


def _followed(work: Callable[..., None], *words: Any) -> None:
    """Do it; be stopped as by SIGTERM when the process that asked for it is gone, however."""
    asked = multiprocessing.parent_process()

    def end() -> None:
        if asked:
            asked.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    work(*words)


def learn(trial: Trial, store: Path, threads: int, limit: int) -> None:
    """In a process of its own: train, gone on with where it was begun."""
    import torch  # noqa: PLC0415

    from oncoseg.train import train  # noqa: PLC0415

    torch.set_num_threads(threads)
    with watched(trial, limit):
        train(trial.run, resume=True, store=store)
        card = open_model(trial.run.to).card
        dice = files.read_json(trial.run.folder / "validation.json")["dice"]
        said = {
            "steps": card["steps"],
            "seconds": round(60 * float(card["minutes"]), 1),
            "peak_mb": round(memory.peak() / 1e6),
            "dice": float(np.mean(list(dice.values()))),
            "alone": card.get("torch_alone", ""),
            "machine": machine(trial.run.device),
        }
        files.write_json(trial.run.folder / "trial.json", said)


def infer(trial: Trial, cases: Sequence[str], threads: int, limit: int) -> None:
    """In a process of its own: predict what was held out, as a user would."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(threads)
    with watched(trial, limit):
        said = files.read_json(trial.run.folder / "trial.json")
        outcome = predict(trial.run.to, Path(trial.run.data), to=trial.predictions, cases=cases)
        for case, reason in outcome.failed.items():
            said["failed"] = f"could not predict {len(outcome.failed)} cases ({case}: {reason})"
        files.write_json(trial.record, said)


@contextmanager
def watched(trial: Trial, limit: int) -> Iterator[None]:
    """What fails meanwhile, or takes more than `limit` bytes (if above 0), goes on record."""
    over = threading.Event()

    def failed(cause: str) -> None:
        files.write_json(trial.record, {"failed": cause})

    def watch() -> None:
        while not over.wait(LOOK):
            if (held := memory.resident()) > limit:
                failed(f"takes {memory.said(held)} of memory, more than {memory.said(limit)}")
                os._exit(FAILED)

    if limit:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except (Busy, Stopped) as error:  # which say nothing of the network
        raise SystemExit(error.code) from error
    except OncosegError as error:
        failed(str(error))
        raise SystemExit(FAILED) from error
    finally:
        over.set()


def learned(trials: Sequence[Trial]) -> Extra:
    """How each learned, how it stands to the first, and why one did not come to an end."""
    said = {one.name: one.said for one in trials}
    first = next(name for name, row in said.items() if "failed" not in row)
    text = (
        "All had the same cases, patches, augmentations and time. Memory is the most that the "
        f"process of the training held; Dice is the mean over regions, and its share of {first}'s."
        + "".join(f" Trained on {name}." for name in machines(trials))
    )
    rows = tuple(_row(name, row, said[first]["dice"], first) for name, row in said.items())
    head = ("Steps", "Seconds a step", "Peak memory in training, MB", "Dice", "Share", "Notes")
    return Extra("How they learned", text, ("Network", *head), rows)


def machines(trials: Sequence[Trial]) -> list[str]:
    """What they were trained on, each once."""
    return sorted({one.said["machine"] for one in trials if "machine" in one.said})


def mixed(trials: Sequence[Trial]) -> list[str]:
    """A warning where minutes were not worth the same for all."""
    found = machines(trials)
    if len(found) < 2:
        return []
    return [f"Trained on unlike machines, {' and '.join(found)}: minutes there are not equal."]


def _row(name: str, said: Mapping[str, Any], best: float, first: str) -> tuple[str, ...]:
    if "failed" in said:
        return (name, *["-"] * 5, f"failed: {said['failed']}")
    share = said["dice"] / best if best else float("nan")
    notes = [f"below {FEW:g} of {first}"] if share < FEW else []
    notes += [f"runs in torch alone: {said['alone']}"] if said["alone"] else []
    pace = said["seconds"] / max(1, said["steps"])
    figures = (str(said["steps"]), f"{pace:.3g}", str(said["peak_mb"]), f"{said['dice']:.3f}")
    return (name, *figures, f"{share:.2f}", "; ".join(notes))


called(__name__)
