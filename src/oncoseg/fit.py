"""Fit: teach a trained model's post-hoc steps on cases it never saw, and write it anew.

The module is itself the verb: `oncoseg.fit("model.onco", ["temperature"], ...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, registry
from oncoseg.bar import bar
from oncoseg.blocks.annotated import whole
from oncoseg.blocks.layouts import only
from oncoseg.case import Source
from oncoseg.errors import BadData, BadRun
from oncoseg.model import Model, open_model, taught
from oncoseg.parts import Posthoc
from oncoseg.predict import segment
from oncoseg.predict.engines import engine as make_engine
from oncoseg.predict.soften import Pair, finished, ordered, parted, teach
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case
from oncoseg.verb import called

__all__ = ["Fitted", "fit"]
HELD = "held_out.json"


@dataclass(frozen=True)
class Fitted:
    """The model that was written, what each step learned, and the cases that were held out.

    `left_out` names steps of the model before that learned from predictions it no longer makes.
    """

    model: Path
    learned: Mapping[str, Mapping[str, Any]]
    cases: tuple[str, ...]
    held: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def fit(
    model: str | Path,
    posthoc: Sequence[str],
    *,
    to: Path,
    data: Path | None = None,
    cases: Sequence[str] = (),
    folds: int = 0,
    fold: int = 0,
    engine: str = "openvino",
    device: str = "",
) -> Fitted:
    """Write a model whose steps are those it has and then `posthoc`, learned from labelled `data`.

    A step it already has is replaced, and what it has that learned from other predictions than it
    will make is taught again, or left out where there are no data. Of the data that the model was
    trained on, only what its training held out is taken (`held_out.json` in its .run folder);
    `cases` names those to take. With `folds`, part `fold` of the patients is held out, and listed
    in the .run folder of the new model. Steps with nothing to learn need no data. Raises `BadRun`
    for what was learned from already, `BadData` where a step cannot be taught.
    """
    opened = open_model(model)
    if not posthoc:
        raise BadRun("no step is given; there are " + ", ".join(registry.names("posthoc")))
    kept, stale = _kept(opened, posthoc)
    wanted = [*posthoc, *(stale if data is not None else ())]
    steps = {text: registry.build("posthoc", text) for text in ordered(wanted)}
    used: list[Source] = []
    held: list[Source] = []
    if data is not None:
        used, held = _parted(_unseen(opened, Path(data), cases), folds, fold)
        infer = make_engine(opened, engine, device)
        before = list(kept.values())
        teach(
            list(steps.values()),
            lambda done: _predicted(opened, [*before, *done], used, infer),
        )
    for text, step in steps.items():
        if step.learns and not step.state:
            raise BadRun(f"{text} learns from labelled cases the model never saw; give a data set")
    records = [{"posthoc": text, "state": one.state} for text, one in {**kept, **steps}.items()]
    written = taught(opened, records, Path(to))
    names = tuple(source.case for source in held)
    if data is not None:
        files.write_json(written.with_suffix(".run") / HELD, list(names))
    learned = {text: step.state for text, step in steps.items()}
    left_out = tuple(text for text in stale if text not in steps)
    return Fitted(written, learned, tuple(source.case for source in used), names, left_out)


def _kept(model: Model, new: Sequence[str]) -> tuple[dict[str, Posthoc], list[str]]:
    """The steps that a model keeps beside new ones, and those that learned from other predictions.

    A new step that changes predictions comes before all that promise something of them, and one
    that is replaced was at work when those after it learned.
    """
    names = {registry.parse("posthoc", text)[0] for text in new}
    changing = any(registry.build("posthoc", text).changes for text in new)
    kept: dict[str, Posthoc] = {}
    stale, replaced = [], False
    for text, step in model.posthoc.items():
        if registry.parse("posthoc", text)[0] in names:
            replaced = replaced or bool(step.changes)
        elif step.learns and (replaced or (changing and not step.changes)):
            stale.append(text)
        else:
            kept[text] = step
    return kept, stale


def _unseen(model: Model, data: Path, cases: Sequence[str]) -> list[Source]:
    """Labelled cases, without those that the model learned from, as far as that is known."""
    sources = only([one for one in find(data).sources if one.labels], cases)
    if not sources:
        raise BadData(f"{data}: holds no labelled case; give a data set with labels")
    list_of = model.path.with_suffix(".run") / HELD
    if not list_of.exists():
        return sources
    held, whole = set(files.read_json(list_of)), {one.case for one in find(data).sources}
    seen = [one.case for one in sources if one.case not in held]
    if not held <= whole or not (held or seen):
        return sources  # other data than the model was trained on
    if not held or (cases and seen):
        raise BadRun(
            f"{model.path}: learned from case {seen[0]} already; take cases that {list_of} lists, "
            "or other data"
        )
    return [one for one in sources if one.case in held]


def _parted(sources: list[Source], folds: int, fold: int) -> tuple[list[Source], list[Source]]:
    """Those to learn from and those held out, whole patients, shuffled always the same way."""
    if not folds:
        return sources, []
    patients = sorted({source.patient for source in sources})
    if not 1 < folds <= len(patients) or not 0 <= fold < folds:
        raise BadRun(
            f"part {fold} of {folds} cannot be held out of {len(patients)} patients; ask for at "
            "least two parts, counted from 0, and no more than there are patients"
        )
    order = np.random.default_rng(0).permutation(len(patients))
    held = {patients[at] for place, at in enumerate(order) if place % folds == fold}
    return (
        [source for source in sources if source.patient not in held],
        [source for source in sources if source.patient in held],
    )


def _predicted(
    model: Model, steps: Sequence[Posthoc], sources: Sequence[Source], infer: Any
) -> Iterator[Pair]:
    """Predictions on the cases' own grids after the steps there are, and the true label maps."""
    task = model.task
    soften, rest = parted(steps)
    for source in bar(sources, "fit"):
        case = read_case(source, modalities=task.modalities, labels=task.labels)
        if not whole(case, task):
            cause = "was searched or drawn in part, so what is missing would be taught as wrong"
            raise BadData(f"case {case.id}: {cause}; leave it out with --cases")
        drawn = case.drawn
        truth = resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)
        prediction = segment(case, model.plan, infer, maps=model.maps, soften=soften)
        yield finished(model, rest, prediction), truth


called(__name__)
