"""Validation: held-out cases as a user would segment them, whole and with modalities missing."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oncoseg import files, results
from oncoseg.bar import bar
from oncoseg.blocks.annotated import known, whole
from oncoseg.blocks.modalities import together
from oncoseg.case import Array, Case, Source, Task
from oncoseg.evaluate import evaluate
from oncoseg.parts import Posthoc
from oncoseg.predict import segment
from oncoseg.predict.engines import network_engine
from oncoseg.predict.samples import views
from oncoseg.predict.soften import Pair, after, parted, teach
from oncoseg.predict.window import Infer
from oncoseg.prepare import Plan, Stored, ignoring
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case
from oncoseg.run import Run
from oncoseg.train.folds import LESSONS
from oncoseg.train.spread import recorded
from oncoseg.trainable import Network

SHARE = 0.1  # of the seconds of training, what predicting subsets of modalities may take
EVERY = 4  # modalities up to which all their subsets are tried
Row = dict[str, float]
T = TypeVar("T")


def validate(
    run: Run,
    plan: Plan,
    network: Network,
    held: Sequence[Stored],
    device: str,
    steps: Mapping[str, Posthoc],
    seconds: float = 0.0,
    mirrors: Sequence[int] = (),
) -> dict[str, Any]:
    """Predictions of held-out cases from their own files, on their own grids, and Dice a region.

    With several modalities, also Dice of each subset of them, on as many cases as a tenth of the
    `seconds` of training allows; and as long, what views mirrored along the axes `mirrors` gain.
    The post-hoc `steps` are taught by the whole predictions, each by what those before make of
    them, and their lessons written to `lessons.json`; cases that were searched or drawn in part
    teach them nothing.
    """
    names = {case.id for case in held}
    found = ignoring(find(Path(run.data)), run.labels)
    sources = [source for source in found.sources if source.case in names]
    infer = network_engine(network, device, half=run.half)
    rows: dict[str, Row] = {}
    taught: list[Source] = []
    subsets = Subsets(plan.task, SHARE * seconds)
    mirrored = Mirrored(plan, infer, tuple(mirrors), network.maps, SHARE * seconds)
    sources.sort(key=lambda source: -len(source.images))  # so that one has every subset

    def judged() -> Iterator[Pair]:
        """Every case once; those that can teach are given on."""
        for source in bar(sources, "validate"):
            case = read_case(source, modalities=plan.task.modalities, labels=plan.task.labels)
            prediction = segment(case, plan, infer, maps=network.maps)
            results.save(prediction, run.folder / "validation")
            rows[case.id] = dice_of(case, prediction.label, plan.task)
            subsets.add(prediction.used, case, rows[case.id])
            for part in subsets.of(case):
                label = segment(part, plan, infer, maps=network.maps).label
                subsets.add(tuple(part.images), case, dice_of(part, label, plan.task))
            mirrored(case, rows[case.id])
            if whole(case, plan.task):
                taught.append(source)
                yield prediction, truth_of(case)

    first = judged()

    def predicted(done: Sequence[Posthoc]) -> Iterable[Pair]:
        if not done:
            return first
        deque(first, maxlen=0)  # all are judged before any is predicted anew
        return anew(taught, plan, infer, network.maps, done)

    lessons = teach(list(steps.values()), predicted)
    deque(first, maxlen=0)
    files.write_json(run.folder / LESSONS, dict(zip(steps, lessons)))
    mean = mean_of(list(rows.values()), plan.task)
    by_modalities = subsets.table()
    patients = {source.case: source.patient for source in sources}
    record = {
        "dice": mean,
        "cases": dict(sorted(rows.items())),
        "by_modalities": by_modalities,
        "patients": dict(sorted(patients.items())),
    }
    files.write_json(run.folder / "validation.json", record)
    figures = {"dice": mean, "cases": len(rows), "fold": run.fold, "folds": run.folds}
    return {"validation": figures, **in_card(by_modalities), **mirrored.in_card()}


def in_card(by_modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a model's card says of the subsets: Dice a region, and of how many cases."""
    if not by_modalities:
        return {}
    return {
        "dice_by_modalities": {name: row["dice"] for name, row in by_modalities.items()},
        "cases_by_modalities": {name: row["cases"] for name, row in by_modalities.items()},
    }


def anew(
    sources: Sequence[Source],
    plan: Plan,
    infer: Infer,
    maps: Sequence[str],
    steps: Sequence[Posthoc],
) -> Iterator[Pair]:
    """Predictions of cases with these steps at work, and their true label maps."""
    soften, rest = parted(steps)
    for source in bar(sources, "calibrate"):
        case = read_case(source, modalities=plan.task.modalities, labels=plan.task.labels)
        prediction = segment(case, plan, infer, maps=maps, soften=soften)
        for step in rest:
            prediction = after(step, prediction)
        yield prediction, truth_of(case)


def truth_of(case: Case) -> Array:
    """The label map of a case on the grid that its results are given on."""
    drawn = case.drawn
    return resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)


def dice_of(case: Case, label: Array, task: Task) -> Row:
    """Dice of each region that was looked for in a case, without the voxels to be ignored."""
    truth = truth_of(case)
    if case.ignore:
        kept = truth != case.ignore
        truth, label = truth * kept, label * kept
    regions = known(task, case.annotated, case.id)
    found = evaluate(label, truth, regions=task, metrics=("dice",)).means
    return {name: round(found[name]["dice"], 4) for name in regions}


def mean_of(rows: Sequence[Row], task: Task) -> Row:
    """Mean of each region over the cases in which it was looked for."""
    values = {name: [row[name] for row in rows if name in row] for name in task.regions}
    return {name: round(float(np.mean(some)), 4) for name, some in values.items() if some}


@dataclass
class Subsets:
    """Dice by the modalities there were: of whole cases, and of parts while `seconds` last."""

    task: Task
    seconds: float
    rows: dict[tuple[str, ...], dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))
    patients: dict[str, str] = field(default_factory=dict)
    spent: float = 0.0

    def add(self, some: tuple[str, ...], case: Case, row: Row) -> None:
        """Dice of a case with some of the modalities."""
        self.rows[some][case.id] = row
        self.patients[case.id] = case.patient

    @property
    def several(self) -> bool:
        """Whether there is anything to leave out."""
        return len(together(self.task.modalities)) > 1

    def of(self, case: Case) -> Iterator[Case]:
        """The case with some of its modalities alone: one each, all but one each, then the rest.

        As time allows, but those of one modality for at least one case.
        """
        there = tuple(name for name in self.task.modalities if name in case.images)
        units = [tuple(there[place] for place in places) for places in together(there)]
        for some in partial(units):
            kept = tuple(name for name in there if any(name in unit for unit in some))
            lone = len(some) == 1 and kept not in self.rows
            if self.spent > self.seconds and not lone:
                continue
            began = time.monotonic()
            yield replace(case, images={name: case.images[name] for name in kept})
            self.spent += time.monotonic() - began

    def table(self) -> dict[str, dict[str, Any]]:
        """Modalities joined by + -> what is written of cases with those alone; the most first."""
        if not self.several:
            return {}
        order = self.task.modalities
        names = sorted(self.rows, key=lambda some: (-len(some), [order.index(one) for one in some]))
        return {
            "+".join(some): recorded(self.rows[some], self.patients, self.task.regions)
            for some in names
        }


@dataclass
class Mirrored:
    """Dice that the mean of mirrored views gains, of one case or while `seconds` last."""

    plan: Plan
    infer: Infer
    axes: tuple[int, ...]
    maps: Sequence[str]
    seconds: float
    gained: list[Row] = field(default_factory=list)
    spent: float = 0.0

    def __call__(self, case: Case, plain: Row) -> None:
        """Try a case that has so much Dice without."""
        if not self.axes or (self.gained and self.spent > self.seconds):
            return
        began = time.monotonic()
        answers = views(self.infer, self.axes, 2 ** len(self.axes))

        def mean(image: Array, present: Array) -> Array:
            return np.mean(list(answers(image, present)), axis=0)[None]

        found = dice_of(case, segment(case, self.plan, mean, maps=self.maps).label, self.plan.task)
        self.gained.append({name: found[name] - plain[name] for name in found})
        self.spent += time.monotonic() - began

    def in_card(self) -> dict[str, Any]:
        """Mean gain a region, and of how many views and cases."""
        if not self.gained:
            return {}
        gain = mean_of(self.gained, self.plan.task)
        return {
            "mirroring": {
                "gain": gain,
                "views": 2 ** len(self.axes),
                "cases": len(self.gained),
            }
        }


def partial(units: Sequence[T]) -> list[tuple[T, ...]]:
    """Proper subsets of what a case has: of one, of all but one, and up to four, all."""
    sizes = [1, len(units) - 1, *range(2, len(units) - 1)]
    wanted = sizes if len(units) <= EVERY else sizes[:2]
    sizes = [size for size in dict.fromkeys(wanted) if 0 < size < len(units)]
    return [some for size in sizes for some in combinations(units, size)]
