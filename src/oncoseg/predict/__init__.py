"""Predict: whole scans, on any subset of the trained modalities, on the grid they came on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oncoseg import results, write
from oncoseg.blocks.layouts import only
from oncoseg.case import Array, Case, Prediction, Source
from oncoseg.errors import BadData, BadFile, OncosegError
from oncoseg.memory import peak, said
from oncoseg.memory import size as size_of
from oncoseg.model import NONSENSE, REMEDY, Model, finished, open_model
from oncoseg.parts import Posthoc
from oncoseg.predict.engines import engine as make_engine
from oncoseg.predict.load import Load
from oncoseg.predict.native import Soften, background
from oncoseg.predict.scan import Scan, Segmenter
from oncoseg.predict.window import Infer
from oncoseg.prepare.plan import Plan
from oncoseg.read import find, read_case
from oncoseg.verb import called

__all__ = ["Outcome", "background", "predict", "segment"]
USELESS = 0.2  # Dice in validation below which a subset of modalities is refused


@dataclass
class Outcome:
    """What became of a batch.

    Records written, a sentence for every case that could not be done, and how much memory (bytes)
    each was said to take at most.
    """

    done: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)


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
    memory: str = "",
    say: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Segment every case found in `scans` and write label maps and records to `to`.

    Of `cases`, if any are named, those alone. `kinds` of `oncoseg.write.KINDS` are written beside
    them. `memory` (as `4GB`) is what may be taken at most, else what the machine has: see
    `oncoseg.predict.load`. While a case is inferred the next one is read, if that fits too.

    A case that cannot be read or segmented, or does not fit, is reported in the outcome and leaves
    nothing behind; the rest finish. Raises `BadData` if there is no case at all, and whatever
    opening the model raises.
    """
    write.known(kinds)
    limit = size_of(memory) if memory else 0
    opened = open_model(model)
    if opened.card.get("segments") is False:
        made = opened.card.get("method", "a method for that")
        remedy = "train from it with --start, or name it where a part takes a model"
        raise BadFile(opened.path, f"does not segment: {made} made it to start from", remedy)
    found = find(scans)
    if not found.sources:
        raise BadData(f"{scans}: holds no scans; give a folder of cases, or one scan")
    outcome = Outcome()
    soften, steps = softening(opened)
    segmenter = Segmenter(
        opened.plan,
        make_engine(opened, engine, device),
        overlap=overlap,
        maps=opened.maps,
        keep=probabilities or any("probability" in step.needs for step in steps),
        soften=soften,
        limit=limit,
        folder=Path(to),
        bar=True,
    )

    def read(source: Source) -> tuple[Scan, tuple[str, ...]]:
        began = time.perf_counter()
        bare = type(source)(source.case, source.patient, source.images, {}, source.site)
        case = read_case(bare, modalities=opened.task.modalities)
        known = validated(case, opened)
        paths = {name: image.path for name, image in case.images.items()}
        write.check(case.id, paths, case.grid, kinds)
        return Scan.of(case, opened.plan, time.perf_counter() - began), known

    with Ahead(only(found.sources, cases), read) as ahead:
        segmenter.tell = Promise(segmenter, ahead, outcome, say)
        for source in ahead:
            try:
                scan, known = ahead.taken()
                prediction = segmenter(scan)
                del scan  # its memory is the next one's
                notes = (*prediction.notes, *known)
                prediction = prediction.but(model=opened.described, notes=notes)
                label = prediction.label
                prediction = finished(opened, steps, prediction)
                if prediction.label is not label:
                    prediction = prediction.but(confidence={})  # that of another label
                saved = results.save(prediction, to, probabilities=probabilities, kinds=kinds)
                outcome.done.append(saved)
            except OncosegError as error:
                outcome.failed[source.case] = str(error)
    return outcome


class Ahead:
    """Goes through cases, reading the next one in a thread from when it is told to `go`."""

    def __init__(
        self, sources: Sequence[Source], read: Callable[[Source], tuple[Scan, tuple[str, ...]]]
    ) -> None:
        self.sources, self.read = list(sources), read
        self.place = 0
        self.futures: dict[int, Future[tuple[Scan, tuple[str, ...]]]] = {}
        self.thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *raised: object) -> None:
        self.thread.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Source]:
        for place, source in enumerate(self.sources):
            self.place = place
            yield source

    def taken(self) -> tuple[Scan, tuple[str, ...]]:
        """The present case, once; raises what reading it raised."""
        future = self.futures.pop(self.place, None)
        return future.result() if future else self.read(self.sources[self.place])

    def go(self) -> bool:
        """Read the next case now, if there is one."""
        following = self.place + 1
        if following < len(self.sources):
            self.futures[following] = self.thread.submit(self.read, self.sources[following])
        return following < len(self.sources)


@dataclass
class Promise:
    """Says how much memory a case takes at most, and lets the next be read if that fits too."""

    segmenter: Segmenter
    ahead: Ahead
    outcome: Outcome
    say: Callable[[str], None]
    largest: int = 0

    def __call__(self, scan: Scan, load: Load) -> None:
        """Hear what a case takes."""
        most = max(peak(), self.segmenter.base + load.most)
        limit = self.segmenter.room
        if self.segmenter.base + load.most + load.reading <= limit and self.ahead.go():
            most = max(most, self.segmenter.base + load.most + load.reading)
        self.outcome.promised[scan.case] = most
        if most > self.largest:
            self.largest = most
            self.say(f"case {scan.case}: takes at most {said(most)} of memory")


def softening(model: Model) -> tuple[Soften, list[Posthoc]]:
    """The post-hoc steps that work on logits as they come, as a function, and those after them.

    Raises `BadFile` if what they learned is nonsense.
    """
    steps = model.posthoc()
    count = next((at for at, step in enumerate(steps) if "probability" in step.needs), len(steps))
    first = [step for step in steps[:count] if "logits" in step.needs]

    def soften(logits: Array) -> Array:
        for step in first:
            logits = step.logits(logits)
        return logits

    try:
        soften(np.zeros((model.task.outputs, 1), dtype=np.float32))
    except NONSENSE as error:
        cause = f"what its posthoc steps learned makes no sense ({type(error).__name__})"
        raise BadFile(model.path, cause, REMEDY) from error
    return soften, [step for step in steps if step not in first]


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
    maps: Sequence[str] = (),
) -> Prediction:
    """One case -> its prediction with probabilities, on the grid of its reference modality.

    `maps` names the channels that `infer` gives after the logits.
    """
    return Segmenter(plan, infer, overlap=overlap, maps=maps)(Scan.of(case, plan))


called(__name__)
