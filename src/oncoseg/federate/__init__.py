"""Federate: sites train together, and nothing but parameters and counts leaves any of them.

The rounds run as Flower apps (the `federated` extra).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from oncoseg import __version__, files, registry
from oncoseg.case import Task
from oncoseg.errors import BadData, BadRun, OncosegError
from oncoseg.extras import require
from oncoseg.federate.rounds import Rounds
from oncoseg.federate.site import Site, shared
from oncoseg.model import save_model
from oncoseg.prepare import Plan, define_task, open_store
from oncoseg.read import find
from oncoseg.run import Run
from oncoseg.train import LICENCE, prepared, resolved
from oncoseg.train.loop import build, trained_task
from oncoseg.trainable import Network, Strategy

__all__ = ["Rounds", "Site", "federate", "sites_of"]
ENGINES = ("simulation", "process")


def federate(
    run: Run,
    folders: Sequence[Path],
    *,
    strategy: str = "fedavg",
    rounds: int = 5,
    engine: str = "",
) -> Path:
    """Train on the data of several folders, each a site's own, and write the merged model.

    `run` says how each site trains: its `steps` are those of one site in one round, its `data` is
    not used. All sites prepare their scans by one plan: that of the first site, or `run.plan`.
    Beside the model, `<name>.run/` holds federation.json, rounds.jsonl (cases and loss of each site
    a round, and what was refused) and the private folder of each site, `<site>.run/`. `engine` is
    `simulation` (Flower's, a process a site; needs Ray) or `process` (one site after another in
    this one): the first where Ray is installed.

    Raises `BadRun` or `BadData` where sites do not fit together: a patient at two of them, other
    labels or modalities.
    """
    require("flwr", "federated")
    engine = engine or ENGINES[importlib.util.find_spec("ray") is None]
    whole = checked(run, folders, strategy, rounds, engine)
    sites = sites_of(whole, folders, strategy, run.steps)
    plan = Plan.read(prepared(sites[0].run) / "plan.json")
    network, names = start(whole, plan, strategy)
    files.write_json(
        whole.folder / "federation.json",
        {
            "sites": {site.name: site.run.data for site in sites},
            "strategy": strategy,
            "rounds": rounds,
            "steps": run.steps,
            "engine": engine,
        },
    )
    merged = Rounds(names, shared(network, names), whole.folder / "rounds.jsonl")
    turns(merged, sites, rounds, engine)
    network.load_state_dict(
        {name: torch.from_numpy(value.copy()) for name, value in merged.shared.items()}
    )
    card = {
        "name": whole.name or Path(whole.to).stem,
        "version": __version__,
        "trained_on": f"{sum(len(site.cases()) for site in sites)} cases at {len(sites)} sites",
        "method": whole.method,
        "strategy": strategy,
        "rounds": rounds,
        "steps": whole.steps,
        "licence": "research use only",
        **(files.read_json(Path(whole.card)) if whole.card else {}),
    }
    trained = replace(plan, task=trained_task(whole, plan.task))
    return save_model(Path(whole.to), network, whole.network, trained, card, LICENCE)


def checked(run: Run, folders: Sequence[Path], strategy: str, rounds: int, engine: str) -> Run:
    """The run over all rounds, refused where it cannot work, before any work."""
    if len(folders) < 2:
        raise BadRun("a federation has two sites or more; for one folder use 'oncoseg train'")
    if rounds < 1 or run.steps < 1:
        raise BadRun("say how long to train: --rounds and --steps must be 1 or more")
    if engine not in ENGINES:
        raise BadRun(f"the engine is {' or '.join(ENGINES)}, not '{engine}'")
    if engine == "simulation":
        require("ray", "federated")
    registry.parse("strategies", strategy)
    whole = replace(run, data=str(folders[0]), steps=rounds * run.steps, minutes=0.0)
    for folder in folders:
        replace(whole, data=str(folder)).check()
    if run.posthoc:
        raise BadRun("posthoc steps learn from held-out scans, which stay at their sites")
    if (whole.folder / "federation.json").exists():
        raise BadRun(f"{whole.folder} already holds a federation; train to another file")
    return resolved(replace(whole, to=str(Path(whole.to).resolve())))


def sites_of(whole: Run, folders: Sequence[Path], strategy: str, steps: int) -> list[Site]:
    """The sites with their private folders and prepared cases, once they fit together."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise BadRun(f"two sites are called {max(names, key=names.count)}; name folders apart")
    schemes = [scheme(folder, whole) for folder in folders]
    together(dict(zip(names, schemes)))
    own = [
        replace(whole, data=str(folder.resolve()), to=str(whole.folder / f"{name}.onco"))
        for name, folder in zip(names, folders)
    ]
    plan = prepared(own[0], again=True) / "plan.json"
    own = [own[0], *(replace(run, plan=str(plan)) for run in own[1:])]
    sites = [Site(name, run, strategy, steps) for name, run in zip(names, own)]
    for site in sites:
        store = prepared(site.run, again=site is not sites[0])
        if Plan.read(store / "plan.json") != Plan.read(plan):
            raise BadRun(
                f"{site.run.data} was prepared by another plan than {plan}; give its scans"
            )
        if not site.cases():
            raise BadData(f"{site.run.data}: no case is labelled, which {whole.method} needs")
        site.run.write(site.run.folder / "run.toml")
    return sites


def scheme(folder: Path, run: Run) -> tuple[Task, set[str]]:
    """What a site's data says of its task, and its patients, without reading a voxel twice."""
    if (folder / "plan.json").exists():
        return Plan.read(folder / "plan.json").task, {case.patient for case in open_store(folder)}
    found = find(folder)
    words = found.sources, found.description, run.labels, run.regions, run.modalities
    return define_task(folder, *words), {source.patient for source in found.sources}


def together(schemes: dict[str, tuple[Task, set[str]]]) -> None:
    """Refuse sites that share a patient, or that do not mean the same by their files."""
    for (one, (task, patients)), (other, (its, others)) in combinations(schemes.items(), 2):
        if both := patients & others:
            raise BadData(
                f"patient {min(both)} is at {one} and at {other}; a patient belongs to one site, "
                "remove it from the other"
            )
        for word in ("modalities", "labels", "regions"):
            mine, theirs = getattr(task, word), getattr(its, word)
            if mine != theirs:
                raise BadData(
                    f"{one} has the {word} {told(mine)} and {other} has {told(theirs)}; make them "
                    f"alike, or state them for all with --{word}"
                )


def told(value: Any) -> str:
    """Names, and their numbers where they have any, as on the command line."""
    if isinstance(value, dict):
        parts = {
            name: "+".join(each) if isinstance(each, tuple) else each
            for name, each in value.items()
        }
        return ",".join(f"{name}={each}" for name, each in parts.items())
    return ",".join(value)


def start(whole: Run, plan: Plan, strategy: str) -> tuple[Network, Strategy]:
    """The network that all sites start from, and the strategy, if one model can come of both."""
    method, _, _ = build(whole, plan.task)
    found: Strategy = registry.build("strategies", strategy)
    kept = [name for name in method.network.state_dict() if not found.shares(name)]
    if kept:
        raise BadRun(
            f"{strategy} keeps {kept[0]} at the sites, so that there is no one model to write"
        )
    return method.network, found


def turns(rounds: Rounds, sites: Sequence[Site], count: int, engine: str) -> list[dict[str, Any]]:
    """All rounds; returns their lines, or raises what ended them."""
    apps = importlib.import_module("oncoseg.federate.flower")
    seen: list[Any] = []
    client = apps.client_app(sites)
    server = apps.server_app(rounds, [site.name for site in sites], count, seen)
    if engine == "simulation":
        apps.run_simulation(server, client, len(sites), os.cpu_count() or 1)
    else:
        apps.run_here(server, client, len(sites))
    if seen and isinstance(seen[-1], OncosegError):
        raise seen[-1]
    if len(seen) < count:
        raise BadRun(
            f"the federation stopped after {len(seen)} of {count} rounds; see rounds.jsonl"
        )
    return seen
