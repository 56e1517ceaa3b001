"""Seeds: the same training several times over, to tell what is gained from what is chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any

from oncoseg import checkpoint, files
from oncoseg.errors import BadRun
from oncoseg.run import Run
from oncoseg.train import begin, page, resolved, train
from oncoseg.train.ranks import alone
from oncoseg.train.several import several

RECORD = "seeds.json"
PAIR = 1.96 * 2**0.5  # deviations by which two draws differ at most, 19 times in 20


def each_seed(run: Run, count: int, *, resume: bool = False, cluster: str = "") -> Path:
    """Train `count` times, with the run's seed and those after it, on the same data and split.

    The first is the run itself and its model the one to keep: to keep the best would flatter it.
    The others lie in `<name>.run/seeds/`, each with a run folder; mean and variance between them in
    `<name>.run/seeds.json`. With `resume`, what is finished stays and what was begun goes on. The
    address of a Ray `cluster` trains them there, at once.
    """
    alone("--seeds")
    if count < 2:
        raise BadRun("variance is between two seeds or more: give --seeds 2 or above")
    if not run.hold and (run.folds < 2 or run.fold < 0):
        raise BadRun("seeds are compared on cases held out of each: say which, with --fold 0")
    if (Path(run.data) / "plan.json").exists():
        raise BadRun("held-out cases are validated from their scans: train from those")
    seeds = range(run.seed, run.seed + count)
    to = {seed: run.folder / "seeds" / f"seed_{seed}.onco" for seed in seeds[1:]}
    ones = [replace(run, seed=seed, to=str(to.get(seed, run.to))) for seed in seeds]
    begun = [one.folder for one in ones if checkpoint.found(one.folder / "last.safetensors")]
    if begun and not resume:
        raise BadRun(f"{begun[0]} already holds a run; go on with --resume, or train elsewhere")
    ((_, run),) = several(_ready, {"preparing": (run, resume)}, run, cluster)
    ones = [replace(run, seed=one.seed, to=one.to) for one in ones]
    tasks = {f"seed {one.seed}": (one, run.folder / "prepared", resume) for one in ones}
    for _ in several(_trained, tasks, run, cluster):
        page.write(run.folder)
    records = {one.seed: files.read_json(one.folder / "validation.json")["dice"] for one in ones}
    files.write_json(run.folder / RECORD, between(records))
    page.write(run.folder)
    return Path(run.to)


def _ready(run: Run, resume: bool) -> Run:
    """The run as the machine that prepares its data, the same for all seeds, can train it."""
    run = resolved(run)
    run.check()
    if not (resume and _finished(run)):
        with files.alone(run.folder / ".lock"):
            begin(run, resume=resume)
    return run


def _trained(run: Run, store: Path, finished: bool) -> None:
    """One training, gone on with where it was begun; one that is `finished` may stay."""
    if not (finished and _finished(run)):
        train(run, resume=True, store=store)


def _finished(run: Run) -> bool:
    """Whether this very training has ended: its model is written last."""
    record = run.folder / "run.toml"
    return Path(run.to).exists() and record.exists() and Run.read(record) == resolved(run)


def between(records: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """Seed -> region -> Dice; gives mean and (n - 1) variance between seeds, a region and over all.

    `chance` is by how much two seeds differ at most, 19 times in 20, if they are normal.
    """
    regions = next(iter(records.values()))
    rows = {region: [row[region] for row in records.values()] for region in regions}
    if len(rows) > 1:
        rows["all regions"] = [mean(values) for values in zip(*rows.values())]
    dice = {
        region: {
            "mean": round(mean(values), 4),
            "variance": round(variance(values), 8),
            "deviation": round(stdev(values), 4),
            "chance": round(PAIR * stdev(values), 4),
            "values": [round(value, 4) for value in values],
        }
        for region, values in rows.items()
    }
    return {"seeds": list(records), "dice": dice}


def table(run: Run) -> str:
    """The record of `each_seed`, for people."""
    found = files.read_json(run.folder / RECORD)
    width = max(len("Dice of held-out cases"), *map(len, found["dice"]))
    heads = [*(f"seed {seed}" for seed in found["seeds"]), "mean", "deviation", "chance"]
    lines = [" ".join([f"{'Dice of held-out cases':<{width}}", *(f"{head:>9}" for head in heads)])]
    for region, row in found["dice"].items():
        values = [*row["values"], row["mean"], row["deviation"], row["chance"]]
        lines.append(" ".join([f"{region:<{width}}", *(f"{value:9.4f}" for value in values)]))
    said = "Two trainings that differ by less than 'chance' may differ by their seeds alone."
    return "\n".join([*lines, "", said])
