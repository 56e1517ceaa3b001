"""Predict: whole scans, on any subset of the trained modalities, on the grid they came on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncoseg import results, write
from oncoseg.blocks.layouts import only
from oncoseg.case import Array, Case, Prediction, Task
from oncoseg.errors import BadData, BadFile, OncosegError, printable
from oncoseg.model import Model, finished, open_model
from oncoseg.predict.engines import engine as make_engine
from oncoseg.predict.window import Infer, slide
from oncoseg.prepare.align import align, resample
from oncoseg.prepare.plan import Plan
from oncoseg.read import find, read_case

__all__ = ["Outcome", "predict", "segment"]
OUTSIDE = -20.0
USELESS = 0.2  # Dice in validation below which a subset of modalities is refused


@dataclass
class Outcome:
    """What became of a batch.

    Records written, and a sentence for every case that could not be done.
    """

    done: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def predict(
    model: str | Path,
    scans: Path,
    *,
    to: Path,
    engine: str = "openvino",
    device: str = "",
    overlap: float = 0.5,
    probabilities: bool = False,
    kinds: Sequence[str] = (),
    cases: Sequence[str] = (),
) -> Outcome:
    """Segment every case found in `scans` and write label maps and records to `to`.

    Of `cases`, if any are named, those alone. `kinds` of `oncoseg.write.KINDS` are written beside
    them.

    A case that cannot be read or segmented is reported in the outcome and leaves nothing behind;
    the rest finish. Raises `BadData` if there is no case at all, and whatever opening the model
    raises.
    """
    write.known(kinds)
    opened = open_model(model)
    if opened.card.get("segments") is False:
        made = opened.card.get("method", "a method for that")
        remedy = "train from it with --start, or name it where a part takes a model"
        raise BadFile(opened.path, f"does not segment: {made} made it to start from", remedy)
    found = find(scans)
    if not found.sources:
        raise BadData(f"{scans}: holds no scans; give a folder of cases, or one scan")
    infer = make_engine(opened, engine, device)
    steps = opened.posthoc()
    outcome = Outcome()
    for source in only(found.sources, cases):
        try:
            bare = type(source)(source.case, source.patient, source.images, {}, source.site)
            case = read_case(bare, modalities=opened.task.modalities)
            known = validated(case, opened)
            paths = {name: image.path for name, image in case.images.items()}
            write.check(case.id, paths, case.grid, kinds)
            prediction = segment(
                case, opened.plan, infer, overlap=overlap, progress=True, maps=opened.maps
            )
            prediction = prediction.but(model=opened.described, notes=(*prediction.notes, *known))
            prediction = finished(opened, steps, prediction)
            saved = results.save(prediction, to, probabilities=probabilities, kinds=kinds)
            outcome.done.append(saved)
        except OncosegError as error:
            outcome.failed[source.case] = str(error)
    return outcome


def validated(case: Case, model: Model) -> tuple[str, ...]:
    """What the model's card says of this case's subset of modalities, as sentences for the report.

    Raises `BadData` for a subset on which the model failed in its own validation.
    """
    used = [name for name in model.task.modalities if name in case.images]
    figures = model.card.get("dice_by_modalities", {}).get("+".join(used), {})
    if not figures or len(used) == len(model.task.modalities):
        return ()
    words = ", ".join(f"{region} {value:.2f}" for region, value in figures.items())
    if max(figures.values()) < USELESS:
        raise BadData(
            f"case {case.id}: has {', '.join(used)} alone, from which this model cannot segment"
            f" (Dice in validation: {words}); give more of {', '.join(model.task.modalities)}"
        )
    return (f"Dice in the model's validation with these modalities: {words}.",)


def segment(
    case: Case,
    plan: Plan,
    infer: Infer,
    *,
    overlap: float = 0.5,
    progress: bool = False,
    maps: Sequence[str] = (),
) -> Prediction:
    """One case -> its prediction, on the grid of its reference modality.

    `maps` names the channels that `infer` gives after the logits.
    """
    task = plan.task
    aligned = align(case, plan)
    values = slide(
        infer,
        aligned.image,
        aligned.present,
        task.patch,
        overlap=overlap,
        progress=_bar(case.id) if progress else iter,
    )
    if not np.isfinite(values).all():
        raise BadData(
            f"case {case.id}: the model gives values that are no numbers; "
            "use another model or engine"
        )
    logits = values[: task.outputs]
    logits[:, ~aligned.present.any(0)] = background(task)
    native = np.stack(
        [
            resample(channel, aligned.grid, case.grid, outside=outside)
            for channel, outside in zip(logits, background(task)[:, 0])
        ]
    )
    used = tuple(name for name in task.modalities if name in case.images)
    missing = tuple(name for name in task.modalities if name not in case.images)
    return Prediction(
        case=case.id,
        task=task,
        grid=case.grid,
        label=task.decode(native),
        probability=task.probabilities(native).astype(np.float16),
        used=used,
        missing=missing,
        images={name: case.images[name].path for name in used},
        notes=(*case.notes, *_notes(used, missing)),
        maps={
            name: resample(channel, aligned.grid, case.grid).astype(np.float16)
            for name, channel in zip(maps, values[task.outputs :])
        },
    )


def background(task: Task) -> Array:
    """Logits (outputs, 1) of a voxel that is certainly background."""
    values = np.full((task.outputs, 1), OUTSIDE, dtype=np.float32)
    if task.exclusive:
        values[0] = -OUTSIDE
    return values


def _notes(used: tuple[str, ...], missing: tuple[str, ...]) -> tuple[str, ...]:
    if not missing:
        return ()
    sentence = (
        f"Segmented from {', '.join(used)} alone; {', '.join(missing)} was not given, so expect"
        " less accuracy."
    )
    return (sentence,)


def _bar(name: str) -> Callable[[list[Any]], Iterator[Any]]:
    return lambda boxes: iter(
        tqdm(boxes, desc=printable(name), unit="window", disable=None, delay=2, leave=False)
    )
