"""Fit: teach a trained model's post-hoc steps on cases it never saw, and write it anew.

The module is itself the verb: `oncoseg.fit("model.onco", ["temperature"], ...)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from oncoseg.model import Model, open_model, pack
from oncoseg.parts import Posthoc
from oncoseg.predict import segment
from oncoseg.predict.engines import engine as make_engine
from oncoseg.predict.soften import Pair, finished, parted, teach
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case
from oncoseg.verb import called

__all__ = ["Fitted", "fit"]
HELD = "held_out.json"


@dataclass(frozen=True)
class Fitted:
    """The model that was written, what each new step learned, and the cases that were held out."""

    model: Path
    learned: Mapping[str, Mapping[str, Any]]
    cases: tuple[str, ...]
    held: tuple[str, ...]


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

    A step it already has is replaced. Of the data that the model was trained on, only what its
    training held out is taken (`held_out.json` in its .run folder); `cases` names those to take.
    With `folds`, part `fold` of the patients is held out, and listed in the .run folder of the new
    model. Steps with nothing to learn need no data. Raises `BadRun` for what was learned from
    already, `BadData` where a step cannot be taught.
    """
    opened = open_model(model)
    steps = {text: registry.build("posthoc", text) for text in posthoc}
    if not steps:
        raise BadRun("no step is given; there are " + ", ".join(registry.names("posthoc")))
    new = {_name(text) for text in steps}
    before = [one for one in _records(opened) if _name(str(one["posthoc"])) not in new]
    used: list[Source] = []
    held: list[Source] = []
    if data is not None:
        used, held = _parted(_unseen(opened, Path(data), cases), folds, fold)
        kept = [step for step, one in zip(opened.posthoc(), _records(opened)) if one in before]
        infer = make_engine(opened, engine, device)

        def predicted(done: Sequence[Posthoc]) -> list[Pair]:
            return _predicted(opened, [*kept, *done], used, infer)

        teach(list(steps.values()), predicted(()), predicted)
    for text, step in steps.items():
        if not step.state and type(step).fit is not Posthoc.fit:
            raise BadRun(f"{text} learns from labelled cases the model never saw; give a data set")
    records = [*before, *({"posthoc": text, "state": step.state} for text, step in steps.items())]
    written = _write(opened, records, Path(to))
    names = tuple(source.case for source in held)
    if data is not None:
        files.write_json(written.with_suffix(".run") / HELD, list(names))
    learned = {text: step.state for text, step in steps.items()}
    return Fitted(written, learned, tuple(source.case for source in used), names)


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
) -> list[Pair]:
    """Predictions on the cases' own grids after the steps there are, and the true label maps."""
    task, pairs = model.task, []
    soften, rest = parted(steps)
    for source in bar(sources, "fit"):
        case = read_case(source, modalities=task.modalities, labels=task.labels)
        if not whole(case, task):
            cause = "was searched or drawn in part, so what is missing would be taught as wrong"
            raise BadData(f"case {case.id}: {cause}; leave it out with --cases")
        drawn = case.drawn
        truth = resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)
        prediction = segment(case, model.plan, infer, maps=model.maps, soften=soften)
        pairs.append((finished(model, rest, prediction), truth))
    return pairs


def _records(model: Model) -> list[dict[str, Any]]:
    """A record a step that the model has."""
    if "posthoc.json" not in model.members:
        return []
    model.posthoc()  # refuses nonsense
    return list(files.parsed_json(model.members["posthoc.json"])["steps"])


def _write(model: Model, records: Sequence[Mapping[str, Any]], to: Path) -> Path:
    """The same model with other steps; its card names them."""
    steps = ", ".join(_name(str(one["posthoc"])) for one in records)
    card = {**model.card, "posthoc": steps}
    changed = {"posthoc.json": {"steps": list(records)}, "card.json": card}
    content = {
        name: (json.dumps(one, indent=2, ensure_ascii=False) + "\n").encode()
        for name, one in changed.items()
    }
    return pack(to, {**model.members, **content})


def _name(text: str) -> str:
    return text.partition(":")[0].strip()


called(__name__)
