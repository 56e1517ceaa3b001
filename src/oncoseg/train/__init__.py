"""Train: one loop for every method, bounded by minutes or steps, resumable.

Ending in a model file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from oncoseg import __version__, checkpoint, files, registry
from oncoseg.errors import BadData, BadRun
from oncoseg.model import save_model
from oncoseg.parts import Posthoc
from oncoseg.predict.engines import torch_device
from oncoseg.predict.soften import ordered
from oncoseg.prepare import Plan, Stored, agreed, held_out, open_store, prepare
from oncoseg.prepare.plan import MOST
from oncoseg.prepare.store import appearances
from oncoseg.run import AUGMENTATIONS, EACH, NONE, POSTHOC, Run
from oncoseg.train.folds import each_fold
from oncoseg.train.loop import Loop, kept
from oncoseg.train.ranks import Ranks, joined
from oncoseg.train.validation import validate
from oncoseg.verb import called

PEEK = 8
LEAST = 32**3  # voxels of a patch
PACE = 150_000  # voxels a second through a U-Net of width 16, forth and back, on each core
SAME = (
    *("network", "method", "loss", "folds", "fold", "apart", "hold", "labelled", "start", "seed"),
    *("labels", "regions", "modalities"),
)
LICENCE = (
    "The weights are given under the licence named in the card, for research use only;"
    " not a medical device.\n"
)


def train(run: Run, *, resume: bool = False, store: Path | None = None, cluster: str = "") -> Path:
    """Prepare (once), train, validate on what was held out, and write the model to `run.to`.

    Beside it, `<name>.run/` holds run.toml, the prepared data, checkpoints, metrics.jsonl and, if
    cases were held out, their predictions and validation.json. With `resume` it goes on from the
    last checkpoint, whenever it was killed; without, a run folder that already holds one is
    refused, and one that another process trains into always is. A `store` of the same data that is
    prepared already is used as it is. Started by torchrun, its processes share every batch, and
    only the first goes on when the model is trained. The address of a Ray `cluster` trains folds at
    once.
    """
    if run.folds > 1 and run.fold == EACH and not run.hold:
        return each_fold(run, resume=resume, cluster=cluster)
    if cluster:
        raise BadRun("a cluster trains --folds or --seeds at once; for one training use torchrun")
    run = resolved(run)
    with ExitStack() as kept_alone:
        with joined(run.device) as ranks:
            ranks.together(run.check)
            ranks.once(lambda: kept_alone.enter_context(files.alone(run.folder / ".lock")))
            plan, loop, held = _train(run, resume, store, ranks)
        model = finish(run, plan, loop, held)
        loop.watch.draw(now=True)
        return model


def _train(
    run: Run, resume: bool, store: Path | None, ranks: Ranks
) -> tuple[Plan, Loop, list[Stored]]:
    ranks.once(lambda: begin(run, store, resume=resume))
    store = store or prepared(run)
    plan, cases = Plan.read(store / "plan.json"), open_store(store)
    training, held = held_out(cases, run.folds, run.fold, run.hold, run.apart)
    training = hidden(training, run.labelled, run.seed)
    held = [case for case in held if case.labeled]
    ranks.once(lambda: files.write_json(run.folder / "held_out.json", [case.id for case in held]))
    loop = ranks.together(lambda: Loop(run, plan, training, held[:PEEK], ranks=ranks))
    if ranks.together(lambda: checkpoint.found(loop.last)):
        loop.resume()
    loop()
    return plan, loop, held


def begin(run: Run, store: Path | None = None, *, resume: bool) -> None:
    """Refuse what would write over a run or change it; else write what it is, and prepare."""
    folder = run.folder
    if checkpoint.found(folder / "last.safetensors") and not resume:
        raise BadRun(f"{folder} already holds a run; go on with --resume, or train to another file")
    if resume and (folder / "run.toml").exists():
        _refuse_changed(run)
    files.sweep(folder)
    run.write(folder / "run.toml")  # before it prepares, so that going on is with the same data
    if not store:
        prepared(run, again=not resume)


def resolved(run: Run) -> Run:
    """The run with its device, and what can be learned with it in the time.

    That is a network, patches and, in trainings of less than an hour, milder changes of intensity:
    there is not the time to learn to see through strong ones.
    """
    device = str(torch_device(run.device))
    slow = device == "cpu"
    network = run.network or f"unet:width={16 if slow else 32}"
    voxels = run.voxels or (affordable(run.minutes) if slow and not run.steps else MOST)
    batch = run.batch or (2 if slow else 0)
    augmentations = run.augmentations
    if augmentations == AUGMENTATIONS and not run.steps and run.minutes < 60:
        mild = f"intensity:strength={run.minutes / 60:.3g}"
        augmentations = tuple(mild if name == "intensity" else name for name in augmentations)
    return replace(
        run,
        device=device,
        network=network,
        batch=batch,
        voxels=voxels,
        augmentations=augmentations,
    )


def affordable(minutes: float) -> int:
    """Voxels of a patch, two a step, with which a CPU makes about a thousand steps in the time.

    Each core of this machine is taken to be as fast as each of two; processes of torchrun share
    them, so that what torch says of its threads would be too few.
    """
    return int(min(max(minutes * 60 * PACE * (os.cpu_count() or 1) / 2000, LEAST), MOST))


def _refuse_changed(run: Run) -> None:
    """Going on with other cases held out, or another task, would be wrong and not be seen."""
    before = Run.read(run.folder / "run.toml")
    for name in SAME:
        was, asked = getattr(before, name), getattr(run, name)
        if was != asked:
            raise BadRun(
                f"{run.folder} was begun with {name} {was or 'not given'}, now it is "
                f"{asked or 'not given'}; resume with the same, or train to another file"
            )


def prepared(run: Run, *, again: bool = False) -> Path:
    """The store to train from.

    `run.data` itself if it is one, of the task that is asked for, else made in the run's folder,
    unless it is there and not wanted `again`.
    """
    data = Path(run.data)
    if (data / "plan.json").exists():
        agreed(data / "plan.json", run.labels, run.regions, run.modalities, {})
        return data
    store = run.folder / "prepared"
    if again or not (store / "plan.json").exists():
        prepare(
            data,
            store,
            labels=run.labels,
            regions=run.regions,
            modalities=run.modalities,
            voxels=run.voxels or MOST,
            plan=Path(run.plan) if run.plan else None,
            bare="labeled" not in registry.entry("methods", run.method.partition(":")[0]).needs,
        )
    return store


def hidden(cases: Sequence[Stored], labelled: int, seed: int) -> list[Stored]:
    """Cases with the labels of all but `labelled` patients hidden (0 hides none).

    Which patients is drawn by the seed; those of a smaller number are among those of a larger one.
    """
    patients = sorted({case.patient for case in cases if case.labeled})
    if not labelled:
        return list(cases)
    if labelled > len(patients):
        raise BadData(f"--labelled {labelled}, but {len(patients)} training patients have labels")
    order = np.random.default_rng(seed).permutation(len(patients))
    shown = {patients[place] for place in order[:labelled]}
    return [case if case.patient in shown else case.but(labeled=False) for case in cases]


def finish(run: Run, plan: Plan, loop: Loop, held: Sequence[Stored]) -> Path:
    """Validate the averaged weights on every held-out case as a user would.

    Then fit the post-hoc steps, export and write the model.
    """
    network = kept(loop.average)
    scans = held and not (Path(run.data) / "plan.json").exists()  # else: no files to read again
    own = loop.trained == plan.task
    judged = bool(scans and own)
    steps = asked(run, judged=judged)
    device, seconds = str(loop.device), loop.progress.seconds
    mirrors = sorted({axis for part in loop.augmentations for axis in part.mirrors})
    given = run, plan, network, held, device, steps
    found = validate(*given, seconds=seconds, mirrors=mirrors) if judged else {}
    untaught = [text for text, step in steps.items() if step.learns and not step.state]
    if untaught and run.posthoc:
        cause = "posthoc steps learn from held-out cases that were searched for all"
        raise BadRun(f"{cause}; hold one out, or leave out {untaught[0]}")
    card = {
        "name": run.name or Path(run.to).stem,
        "version": __version__,
        "trained_on": f"{len(loop.training)} cases of {Path(run.data).name}",
        "method": run.method,
        "segments": loop.method.segments,
        "steps": loop.progress.step,
        "minutes": round(loop.progress.seconds / 60, 1),
        "mirrored_axes": ", ".join(map(str, mirrors)),
        "validation": {},
        **found,
        **({"went_back_at_steps": loop.progress.broke} if loop.progress.broke else {}),
        "licence": "research use only",
        **(files.read_json(Path(run.card)) if run.card else {}),
    }
    fitted = [
        {"posthoc": text, "state": step.state}
        for text, step in steps.items()
        if text not in untaught
    ]
    trained = replace(plan, task=loop.trained)
    content = network, run.network, trained, card, LICENCE, fitted
    return save_model(Path(run.to), *content, seen=appearances(loop.training))


def asked(run: Run, *, judged: bool) -> dict[str, Posthoc]:
    """The post-hoc steps to teach, spelt, in their order; `judged`: there are held-out scans."""
    if run.posthoc == NONE or not (judged or run.posthoc):
        return {}
    if not judged:
        raise BadRun("posthoc steps learn from the scans of held-out cases; train from those")
    return {text: registry.build("posthoc", text) for text in ordered(run.posthoc or POSTHOC)}


called(__name__)
