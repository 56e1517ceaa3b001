"""Annotate: the loop in which a model asks for the boxes it would learn most from.

A fully labelled data set plays the person: what is asked for is shown, the rest stays hidden.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import __version__, checkpoint, files, registry
from oncoseg.blocks.boxes import rooms
from oncoseg.blocks.logits import logits_of
from oncoseg.case import Array, Box, Grid, Prediction, Task
from oncoseg.errors import BadData, BadFile, BadRun
from oncoseg.evaluate import evaluate
from oncoseg.model import save_model
from oncoseg.parts import Query, Wanted
from oncoseg.predict import background
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, Stored, held_out, open_store, splits
from oncoseg.prepare.store import appearances
from oncoseg.run import Run
from oncoseg.train import LICENCE, prepared, resolved
from oncoseg.train.loop import Loop, kept
from oncoseg.trainable import Network

SETTINGS = "annotate.json"
START = "foreground_random"
EACH = 2  # boxes that hold each region, at least, in the first round
OVERLAP = 0.25  # of the windows in which the pool is predicted
FREE = ("data", "to", "device", "workers")  # what may change when a loop goes on


@dataclass(frozen=True)
class Asking:
    """What is asked for: `count` boxes of `size` voxels a round by `query`, in `rounds` rounds.

    The boxes of the first round are drawn, not asked for. `models` networks learn in a round, each
    without one part of the annotated patients, and their mean probability is what a query sees; one
    alone learns from all. No `size` means half a patch along each axis.
    """

    query: str = "clasp_pe"
    rounds: int = 5
    count: int = 20
    size: tuple[int, ...] = ()
    models: int = 1

    def check(self) -> None:
        """Raises `BadRun` for numbers below 1, and what the registry raises for the query."""
        registry.parse("queries", self.query)
        for name in ("rounds", "count", "models"):
            if getattr(self, name) < 1:
                raise BadRun(f"{name} is at least 1, not {getattr(self, name)}")
        if any(side < 1 for side in self.size):
            raise BadRun("a box has at least one voxel along each axis")

    def on(self, task: Task) -> Asking:
        """The same, with the size of a box; raises `BadRun` for one of other dimensions."""
        size = self.size or tuple(max(1, side // 2) for side in task.patch)
        if len(size) != task.dims:
            raise BadRun(f"the task is {task.dims}-D, so a box has {task.dims} sides, not {size}")
        return replace(self, size=size)

    def wanted(self, number: int, taken: Sequence[Box], seed: int) -> Wanted:
        """What is asked of the query after a round."""
        done = number / max(1, self.rounds - 2)
        return Wanted(self.count, self.size, tuple(taken), done, seed)


@dataclass(frozen=True)
class Pool:
    """What all rounds share: the cases to ask about and those to measure on."""

    run: Run
    plan: Plan
    cases: Sequence[Stored]
    held: Sequence[Stored]

    def networks(self, number: int, boxes: Sequence[Box], models: int) -> list[Network]:
        """Train for a round on what is annotated, from where an interrupted one stood."""
        known = annotated(self.cases, boxes)
        parts: list[list[str]] = [[]] if models == 1 else splits(known, models, self.run.seed)
        found = []
        for part, names in enumerate(parts):
            to = self._round(number) / f"model_{part}.onco"
            run = replace(self.run, to=str(to), seed=self.run.seed + part)
            loop = Loop(run, self.plan, [case for case in known if case.id not in names], [])
            if loop.trained != self.plan.task:
                raise BadRun(f"{run.method} does not learn the task itself; use another method")
            last = run.folder / "last.safetensors"
            if checkpoint.found(last):
                loop.progress = checkpoint.resume(last, loop.modules, loop.optimiser)
            loop()
            found.append(kept(loop.average))
        return found

    def clear(self, number: int) -> None:
        """Remove the checkpoints of a round that is written down."""
        shutil.rmtree(self._round(number), ignore_errors=True)

    def _round(self, number: int) -> Path:
        return Path(self.run.to).with_name(f"round_{number:02d}")

    def predicted(self, cases: Iterable[Stored], networks: Sequence[Network]) -> list[Prediction]:
        """Predictions on the plan's grid, of the networks' mean probability."""
        task = self.plan.task
        device, half = self.run.device, self.run.half
        engines = [network_engine(network, device, half=half) for network in networks]
        found = []
        for case in cases:
            image, present = case.read("image").astype(np.float32), case.read("present")
            total = np.zeros((len(task.regions), *case.shape), dtype=np.float32)
            for infer in engines:
                logits = slide(infer, image, present, task.patch, overlap=OVERLAP)
                logits = logits[: task.outputs]
                logits[:, ~present.any(0)] = background(task)
                total += task.probabilities(logits) / len(engines)
            label = task.decode(logits_of(task, total))
            found.append(_prediction(case, task, label, total.astype(np.float16)))
        return found

    def asked(self, asking: Asking, wanted: Wanted, networks: Sequence[Network]) -> list[Box]:
        """The boxes that the query picks for the next round."""
        query: Query = registry.build("queries", asking.query)
        sees = "truth" in registry.entry("queries", asking.query.partition(":")[0]).needs
        truth = (shown(case, self.plan.task) for case in self.cases)
        return query.pick(list(truth) if sees else self.predicted(self.cases, networks), wanted)

    def measured(self, networks: Sequence[Network]) -> dict[str, float]:
        """Mean Dice a region over the held-out cases, on the plan's grid."""
        task = self.plan.task
        scores: dict[str, list[float]] = {}
        for case in self.held:
            label = self.predicted([case], networks)[0].label
            truth = shown(case, task).label
            found = evaluate(label, truth, regions=task, metrics=("dice",)).means
            for region, row in found.items():
                scores.setdefault(region, []).append(row["dice"])
        return {region: round(float(np.mean(values)), 4) for region, values in scores.items()}

    def counted(self, boxes: Iterable[Box]) -> tuple[int, int]:
        """Voxels in the boxes, and those of foreground."""
        labels = {case.id: case for case in self.cases}
        voxels = foreground = 0
        for box in boxes:
            part = labels[box.case].read("label", _slices(box)) / np.float32(127.5) - 1
            voxels += int(np.prod(part.shape[1:]))
            foreground += int(np.count_nonzero(self.plan.task.decode(part)))
        return voxels, foreground


def annotate(run: Run, asking: Asking | None = None, *, resume: bool = False) -> dict[str, Any]:
    """Play the loop on `run.data`, whose training cases must all be labelled; returns the summary.

    Beside `run.to`, the model of the last round, `rounds.jsonl` gets a line a round: the boxes
    annotated for it, voxels annotated so far and those of foreground, Dice over the held-out cases,
    and the boxes asked for `next`. `summary.json` holds the curve and its AUBC. With `resume`,
    finished rounds stay, and the one that was interrupted goes on.
    """
    asking = asking or Asking()
    run.check()
    asking.check()
    if run.posthoc or (run.folds < 2 and not run.hold):
        raise BadRun("the loop measures on held-out cases, which --fold names; it fits no posthoc")
    run = resolved(run)
    folder = Path(run.to).parent
    settings = _settings(run, asking)
    lines = _finished(folder, settings, resume=resume)
    store = prepared(run, again=not resume)
    files.write_json(folder / SETTINGS, settings)
    plan = Plan.read(store / "plan.json")
    cases, held = held_out(open_store(store), run.folds, run.fold, run.hold)
    for case in (*cases, *held):
        if not case.labeled:
            raise BadData(f"case {case.id} has no label map, and nobody is there to draw it")
    asking, pool = asking.on(plan.task), Pool(run, plan, cases, held)
    for number in range(len(lines), asking.rounds):
        line = _round(number, pool, asking, lines)
        lines.append(line)
        text = "".join(json.dumps(each) + "\n" for each in lines)
        files.write_text(folder / "rounds.jsonl", text)
        pool.clear(number)
    rows = [{name: line[name] for name in line if name not in {"boxes", "next"}} for line in lines]
    means = [line["mean"] for line in lines]
    summary = {"query": asking.query, "aubc": aubc(means), "final": means[-1], "rounds": rows}
    files.write_json(folder / "summary.json", summary)
    return summary


def _round(
    number: int, pool: Pool, asking: Asking, lines: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Train, measure, ask."""
    began, task, seed = time.monotonic(), pool.plan.task, pool.run.seed
    before = [box for line in lines for box in _boxes(line["boxes"])]
    if lines:
        boxes = _boxes(lines[-1]["next"])
    else:
        boxes = start([shown(case, task) for case in pool.cases], asking.wanted(0, (), seed))
    taken = [*before, *boxes]
    networks = pool.networks(number, taken, asking.models)
    dice = pool.measured(networks)
    asked: list[Box] = []
    if number < asking.rounds - 1:
        asked = pool.asked(asking, asking.wanted(number, taken, seed), networks)
    else:
        _save(pool, networks, number, len(taken))
    voxels, foreground = pool.counted(taken)
    return {
        "round": number,
        "annotated": voxels,
        "foreground": foreground,
        "dice": dice,
        "mean": round(float(np.mean(list(dice.values()))), 4),
        "seconds": round(time.monotonic() - began, 1),
        "boxes": [[box.case, box.start, box.stop] for box in boxes],
        "next": [[box.case, box.start, box.stop] for box in asked],
    }


def start(pool: Sequence[Prediction], wanted: Wanted) -> list[Box]:
    """Random boxes for the first round, each region in two of them at least, where that can be.

    Raises `BadData` for a region that no case holds, `BadRun` if `wanted.count` is too small.
    """
    rng = np.random.default_rng([wanted.seed, 1])
    room = rooms({one.case: one.grid.shape for one in pool}, wanted.size, wanted.taken)
    found: list[Box] = []
    by_name = {one.case: one for one in pool}
    for region in pool[0].task.regions:
        places = rng.permutation(len(pool)).tolist() * EACH
        while places and sum(_holds(by_name[box.case], region, box) for box in found) < EACH:
            one = pool[places.pop()]
            boxes = room[one.case].around(np.argwhere(one.masks[region]), rng)
            for box in boxes:
                room[one.case].close(box)
            found += boxes
        if not any(_holds(by_name[box.case], region, box) for box in found):
            raise BadData(f"no training case holds {region}, so no box can show it")
    if len(found) > wanted.count:
        raise BadRun(f"the first round takes {len(found)} boxes to hold every region; ask for more")
    rest = replace(wanted, count=wanted.count - len(found), taken=found)
    query: Query = registry.build("queries", START)
    return found + query.pick(pool, rest)


def annotated(cases: Iterable[Stored], boxes: Iterable[Box]) -> list[Stored]:
    """The cases with what lies outside the boxes hidden; those without a box are not labelled."""
    edges: dict[str, list[Any]] = {}
    for box in boxes:
        edges.setdefault(box.case, []).append([list(box.start), list(box.stop)])
    return [
        case.but(boxes=edges[case.id]) if case.id in edges else case.but(labeled=False)
        for case in cases
    ]


def shown(case: Stored, task: Task) -> Prediction:
    """The truth in a prediction's place, on the plan's grid, without probabilities."""
    label = task.decode(case.read("label") / np.float32(127.5) - 1)
    return _prediction(case, task, label, np.zeros((0, *case.shape), dtype=np.float16))


def aubc(values: Sequence[float]) -> float:
    """Area under the budget curve: mean height of the trapezoids between rounds."""
    if len(values) < 2:
        return float(values[0])
    heights = np.asarray(values, dtype=float)
    return round(float((heights[1:] + heights[:-1]).mean() / 2), 4)


def _prediction(case: Stored, task: Task, label: Array, probability: Array) -> Prediction:
    grid = Grid(case.shape, np.diag([*task.spacing, 1.0]))
    return Prediction(case.id, task, grid, label, probability, task.modalities)


def _holds(one: Prediction, region: str, box: Box) -> bool:
    return bool(one.task.masks(one.label[_slices(box)])[region].any())


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(map(slice, box.start, box.stop))


def _boxes(rows: Iterable[Any]) -> list[Box]:
    return [Box(case, tuple(first), tuple(last)) for case, first, last in rows]


def _save(pool: Pool, networks: Sequence[Network], number: int, boxes: int) -> None:
    """Write the last round's model; of several, each with its number after its name."""
    to, run = Path(pool.run.to), pool.run
    for part, network in enumerate(networks):
        path = to if len(networks) == 1 else to.with_name(f"{to.stem}_{part}{to.suffix}")
        card = {
            "name": path.stem,
            "version": __version__,
            "trained_on": f"{boxes} annotated boxes of {len(pool.cases)} cases",
            "method": run.method,
            "rounds": number + 1,
            "licence": "research use only",
        }
        content = network, run.network, pool.plan, card, LICENCE
        save_model(path, *content, seen=appearances(pool.cases))


def _settings(run: Run, asking: Asking) -> dict[str, Any]:
    whole = {**asdict(asking), **{f"run.{name}": value for name, value in asdict(run).items()}}
    plain: dict[str, Any] = json.loads(json.dumps(whole))
    return plain


def _finished(folder: Path, now: dict[str, Any], *, resume: bool) -> list[dict[str, Any]]:
    """Lines of the rounds that are done; refuses a folder of another loop."""
    path = folder / "rounds.jsonl"
    if not (folder / SETTINGS).exists():
        return []
    if not resume:
        raise BadRun(f"{folder} already holds a loop; go on with --resume, or use another folder")
    before = files.read_json(folder / SETTINGS)
    for name in sorted(now.keys() - {f"run.{free}" for free in FREE}):
        if before.get(name) != now[name]:
            raise BadRun(
                f"{folder} was begun with {name.removeprefix('run.')} {before.get(name)}, now it "
                f"is {now[name]}; resume with the same, or use another folder"
            )
    if not path.exists():
        return []
    try:
        lines = [files.parsed_json(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            _boxes(line["boxes"]), _boxes(line["next"])
        return lines
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(path, f"is not whole ({error})", "begin anew, in another folder") from error
