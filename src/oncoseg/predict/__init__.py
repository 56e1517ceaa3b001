"""Predict: whole scans, on any subset of the trained modalities, on the grid they came on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from oncoseg import cluster as ray_cluster
from oncoseg import files, results, write
from oncoseg.blocks.appearance import warning
from oncoseg.blocks.layouts import only
from oncoseg.case import Case, Prediction, Source
from oncoseg.errors import BadData, BadFile, OncosegError
from oncoseg.memory import peak, said
from oncoseg.memory import size as size_of
from oncoseg.model import Model, held_out, open_model, redrawn
from oncoseg.predict.doubt import with_lesions
from oncoseg.predict.engines import engine as make_engine
from oncoseg.predict.kept import kept
from oncoseg.predict.load import Load
from oncoseg.predict.native import Soften, background
from oncoseg.predict.samples import Samples, spreads
from oncoseg.predict.scan import Scan, Segmenter
from oncoseg.predict.soften import finished, softening
from oncoseg.predict.window import Infer
from oncoseg.prepare.plan import Plan
from oncoseg.read import find, read_case
from oncoseg.threads import started
from oncoseg.verb import called

__all__ = ["Outcome", "Predictor", "background", "predict", "segment"]
Ready = tuple[Scan, tuple[str, ...]]  # a scan, and what must be said of it
Say = Callable[[str], None]
ASKED = ("engine", "device", "overlap", "probabilities", "uncertainty", "samples")
USELESS = 0.2  # Dice in validation below which a subset of modalities is refused


@dataclass
class Outcome:
    """What became of a batch.

    Records that are whole, the cases of them that were before, a sentence for every case that could
    not be done, one for every case done now that is unlike the model's training, and how much
    memory (bytes) each was said to take at most.
    """

    done: list[Path] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unlike: dict[str, str] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Predictor:
    """A model that is loaded once and called many times.

    `device` is one of the `engine`'s. `kinds` of `oncoseg.write.KINDS` are written beside label
    maps. With `uncertainty`, predictions hold maps of entropy and margin, and each lesion has its
    confidence; with `samples`, so many answers are averaged, and their mean and spread are held
    too: see `oncoseg.predict.samples`. `memory` (as `4GB`) is what may be taken at most, else what
    the machine has: see `oncoseg.predict.load`. `folder` is where large arrays may lie while a scan
    does not fit in memory; without one it is refused.
    """

    model: str | Path
    _: KW_ONLY
    engine: str = "openvino"
    device: str = ""
    overlap: float = 0.5
    probabilities: bool = False
    uncertainty: bool = False
    samples: int = 0
    kinds: Sequence[str] = ()
    memory: str = ""
    folder: Path | None = None
    bar: bool = False

    def __post_init__(self) -> None:
        self.kinds = tuple(self.kinds)
        write.known(self.kinds)
        self.limit = size_of(self.memory) if self.memory else 0
        self.opened = open_model(self.model)
        if self.opened.card.get("segments") is False:
            made = self.opened.card.get("method", "a method for that")
            remedy = "train from it with --start, or name it where a part takes a model"
            raise BadFile(
                self.opened.path, f"does not segment: {made} made it to start from", remedy
            )
        self.soften, self.steps = softening(self.opened)
        self.uncertainty |= self.samples > 0
        self.probabilities |= self.samples > 0
        self.threads = 0  # of the engine: as many as it likes

    @property
    def asked(self) -> dict[str, Any]:
        """All that results depend on beside scan, model and version; told in records."""
        return {name: getattr(self, name) for name in ASKED} | {"kinds": list(self.kinds)}

    @cached_property
    def segmenter(self) -> Segmenter:
        """The model at work; loads the engine."""
        return Segmenter(
            self.opened.plan,
            self.infer,
            overlap=self.overlap,
            maps=(*self.opened.maps, *(spreads(self.opened.task) if self.samples else ())),
            keep=self.probabilities or any("probability" in step.needs for step in self.steps),
            doubt=self.uncertainty,
            soften=self.soften,
            limit=self.limit,
            folder=self.folder,
            bar=self.bar,
        )

    @cached_property
    def infer(self) -> Infer:
        """The engine, or one that samples."""
        given = self.engine, self.device, self.threads
        if not self.samples:
            return make_engine(self.opened, *given)
        return Samples(self.opened, self.samples, *given, soften=self.soften)

    def __call__(self, scan: str | Path | Case) -> Prediction:
        """The prediction of one case: its folder, its one file, or read already.

        Raises `BadData` if the path holds several cases, and what reading and segmenting raise.
        """
        if isinstance(scan, Case):
            return self.segmented(*self._scan(scan, 0.0))
        sources = find(Path(scan)).sources
        if len(sources) != 1:
            raise BadData(f"{scan}: holds {len(sources)} cases, not one; call predict for a cohort")
        return self.segmented(*self.read(sources[0]))

    def read(self, source: Source) -> Ready:
        """A case from disk, ready for `segmented`."""
        began = time.perf_counter()
        bare = type(source)(source.case, source.patient, source.images, {}, source.site)
        case = read_case(bare, modalities=self.opened.task.modalities)
        paths = {name: image.path for name, image in case.images.items()}
        write.check(case.id, paths, case.grid, self.kinds)
        return self._scan(case, time.perf_counter() - began)

    def _scan(self, case: Case, took: float) -> Ready:
        return Scan.of(case, self.opened.plan, took), validated(case, self.opened)

    def segmented(self, scan: Scan, known: Sequence[str]) -> Prediction:
        """The finished prediction of a scan, of which so much is `known`."""
        prediction, told = self.segmenter(scan), list(known)
        if isinstance(self.infer, Samples):
            told.append(self.infer.told)
        unlikeness = self.opened.unlikeness(scan.aligned)
        prediction = prediction.but(
            model=self.opened.described,
            notes=(*prediction.notes, *told, *warning(unlikeness)),
            samples=self.samples,
            unlikeness=unlikeness,
        )
        prediction = finished(self.opened, self.steps, prediction)
        return with_lesions(prediction) if self.uncertainty else prediction

    def save(self, prediction: Prediction, to: Path) -> Path:
        """Write what was asked for to a folder; returns the path of the record."""
        return results.save(
            prediction,
            Path(to),
            probabilities=self.probabilities,
            kinds=self.kinds,
            asked=self.asked,
        )


def predict(
    model: str | Path,
    scans: Path,
    *,
    to: Path,
    cases: Sequence[str] = (),
    cluster: str = "",
    say: Say = lambda sentence: None,
    **options: Any,
) -> Outcome:
    """Segment every case found in `scans` and write label maps and records to `to`.

    Of `cases`, if any are named, those alone. `options` are those of `Predictor`, but for `folder`
    and `bar`. While a case is inferred the next one is read, if that fits in memory too.

    A case whose record in `to` is whole and says the same model, options, version and files is not
    predicted again. `cluster` is the address of a Ray cluster, or `auto`: see
    `oncoseg.cluster`; without it all is done in this process.

    A case that cannot be read or segmented, or does not fit, is reported in the outcome and leaves
    nothing behind; the rest finish. Raises `BadData` if there is no case at all, and whatever
    opening the model raises.
    """
    scans, to = Path(scans), Path(to)
    predictor = Predictor(model, **options, folder=to.absolute(), bar=True)
    found = find(scans)
    if not found.sources:
        raise BadData(f"{scans}: holds no scans; give a folder of cases, or one scan")
    files.sweep(to)
    opened, outcome, left = predictor.opened, Outcome(), []
    for source in only(found.sources, cases):
        if kept(source, to, opened.task, opened.described, predictor.asked):
            outcome.done.append(to / f"{source.case}.json")
            outcome.kept.append(source.case)
        else:
            left.append(source)
    if cluster:
        away(predictor, left, cluster, outcome)
    elif left:
        here(predictor, left, to, outcome, say)
    outcome.done.sort()
    return outcome


def here(
    predictor: Predictor, sources: Sequence[Source], to: Path, outcome: Outcome, say: Say
) -> None:
    """Predict cases one after the other, in this process."""
    with Ahead(sources, predictor.read) as ahead:
        predictor.segmenter.tell = Promise(predictor.segmenter, ahead, outcome, say)
        for source in ahead:
            try:
                prediction = predictor.segmented(*ahead.taken())
                outcome.done.append(predictor.save(prediction, to))
                if sentences := warning(prediction.unlikeness):
                    outcome.unlike[source.case] = " ".join(sentences)
            except OncosegError as error:
                outcome.failed[source.case] = str(error)
            except MemoryError:
                cause = "the machine has no more memory; allow less with --memory, as 2GB"
                outcome.failed[source.case] = f"case {source.case}: {cause}"


def away(predictor: Predictor, sources: Sequence[Source], address: str, outcome: Outcome) -> None:
    """Predict cases on a cluster, a task each."""
    model = predictor.opened.path.absolute(), predictor.opened.described["sha256"]
    names = [one.name for one in dataclasses.fields(predictor)[1:]]
    settings = tuple((name, getattr(predictor, name)) for name in names)
    cases = {}
    for source in sources:
        images = {name: path.absolute() for name, path in source.images.items()}
        cases[source.case] = (*model, dataclasses.replace(source, images=images), settings)
    gpus = int(predictor.device.startswith("cuda"))
    for case, found in ray_cluster.spread(one, cases, address=address, gpus=gpus):
        if isinstance(found, str):
            outcome.failed[case] = found
        else:
            outcome.done += found.done
            outcome.failed |= found.failed
            outcome.unlike |= found.unlike
            outcome.promised |= found.promised


@lru_cache(1)
def warm(model: Path, settings: tuple[tuple[str, Any], ...]) -> Predictor:
    """The model that this worker has loaded."""
    predictor = Predictor(model, **dict(settings))
    predictor.limit = predictor.limit or ray_cluster.share()
    predictor.threads = ray_cluster.cores()
    return predictor


def one(model: Path, sha256: str, source: Source, settings: tuple[tuple[str, Any], ...]) -> Outcome:
    """What a worker of a cluster does: one case, with the model that the others have."""
    predictor, outcome = warm(model, settings), Outcome()
    if predictor.opened.described["sha256"] != sha256:
        raise BadFile(model, "is another model on this machine", "give all the same one")
    here(predictor, [source], predictor.folder or Path(), outcome, lambda sentence: None)
    return outcome


class Ahead:
    """Goes through cases, reading the next one in a thread from when it is told to `go`."""

    def __init__(self, sources: Sequence[Source], read: Callable[[Source], Ready]) -> None:
        self.sources, self.read = list(sources), read
        self.place = 0
        self.futures: dict[int, Future[Ready]] = {}
        self.thread = started(1)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *raised: object) -> None:
        self.thread.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Source]:
        for place, source in enumerate(self.sources):
            self.place = place
            yield source

    def taken(self) -> Ready:
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
    say: Say
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


def validated(case: Case, model: Model) -> tuple[str, ...]:
    """What the model's card says of scans with this case's modalities, as sentences for the report.

    Raises `BadData` for a subset on which the model failed in its own validation.
    """
    used = [name for name in model.task.modalities if name in case.images]
    redraw = redrawn(model.posthoc)
    before = f", before {redraw}" if redraw else ""
    if len(used) == len(model.task.modalities):
        mean, cases = held_out(model.card)
        dice = {region: mean[region] for region in model.task.regions if region in mean}
        told = f"Mean Dice in the model's validation, {cases} held-out cases{before}:"
        told = f"{told} {_figures(dice)}."
        return (told,) if dice else ()
    figures = model.card.get("dice_by_modalities", {}).get("+".join(used), {})
    if not figures:
        return ()
    words = _figures(figures)
    if max(figures.values()) < USELESS:
        raise BadData(
            f"case {case.id}: has {', '.join(used)} alone, from which this model cannot segment"
            f" (Dice in validation: {words}); give more of {', '.join(model.task.modalities)}"
        )
    return (f"Dice in the model's validation with these modalities{before}: {words}.",)


def _figures(dice: Mapping[str, float]) -> str:
    return ", ".join(f"{region} {value:.2f}" for region, value in dice.items())


def segment(
    case: Case,
    plan: Plan,
    infer: Infer,
    *,
    overlap: float = 0.5,
    maps: Sequence[str] = (),
    soften: Soften = lambda logits: logits,
) -> Prediction:
    """One case -> its prediction with probabilities, on the grid of its reference modality.

    `maps` names the channels that `infer` gives after the logits, which go through `soften`.
    """
    return Segmenter(plan, infer, overlap=overlap, maps=maps, soften=soften)(Scan.of(case, plan))


called(__name__)
