"""Clicks: how many a model needs, by a simulated person who always clicks the deepest error.

Dice after each click, and NoC@85 and NoC@90: the mean number of clicks until the intersection over
union reaches 0.85 and 0.9 (Sofiiuk 2021, RITM, arXiv 2102.06583). What never reaches it counts as
all clicks that there were, and how many those are is said. The module is itself the verb.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import __version__, files, registry
from oncoseg.bar import bar
from oncoseg.blocks.layouts import only
from oncoseg.blocks.lesions import components
from oncoseg.blocks.statistics import interval
from oncoseg.case import Array, Case, Source
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.extras import require
from oncoseg.model import Model, open_model
from oncoseg.prepare.align import resample
from oncoseg.prompt import Session
from oncoseg.read import find, read_case
from oncoseg.verb import called

__all__ = ["Clicked", "Target", "clicks"]
FORMAT = "oncoseg-clicks-1"
GOALS = (0.85, 0.9)  # IoU
SHOWN = (1, 2, 3, 5, 10, 20)
ALL = "all"
CONNECTIVITY = 26


@dataclass(frozen=True)
class Target:
    """One structure that was pointed at: `dice` a click, and NoC with whether it was reached.

    `seconds` are those of each click, the first of which encodes the scan too. `failure` says why
    it counts as the worst, if it does.
    """

    case: str
    patient: str
    region: str
    voxels: int
    dice: tuple[float, ...]
    noc85: int
    reached85: bool
    noc90: int
    reached90: bool
    seconds: tuple[float, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Clicked:
    """Every target, and notes, sentences that a reader must see; `most` clicks were made."""

    model: str
    most: int
    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()
    samples: int = 2000
    seed: int = 0

    @property
    def failed(self) -> tuple[str, ...]:
        """Cases of which something counts as the worst."""
        return tuple(dict.fromkeys(one.case for one in self.targets if one.failure))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Region, and all of them together where there are several -> figures with intervals."""
        names = list(dict.fromkeys(one.region for one in self.targets))
        groups = {name: [one for one in self.targets if one.region == name] for name in names}
        if len(names) > 1:
            groups[ALL] = list(self.targets)
        return {name: self._figures(some) for name, some in groups.items()}

    def _figures(self, some: Sequence[Target]) -> dict[str, Any]:
        patients = [one.patient for one in some]
        firsts = [one.seconds[0] for one in some if one.seconds]
        others = [second for one in some for second in one.seconds[1:]]

        def mean(values: Sequence[float]) -> dict[str, float | None]:
            ends = interval(np.array(values), patients, samples=self.samples, seed=self.seed)
            rounded = [round(end, 6) if np.isfinite(end) else None for end in ends]
            return {
                "mean": round(float(np.mean(values)), 6),
                "low": rounded[0],
                "high": rounded[1],
            }

        return {
            "targets": len(some),
            "patients": len(set(patients)),
            "noc85": mean([one.noc85 for one in some]),
            "never85": sum(not one.reached85 for one in some),
            "noc90": mean([one.noc90 for one in some]),
            "never90": sum(not one.reached90 for one in some),
            "dice": [mean([one.dice[at] for one in some]) for at in range(self.most)],
            "first_click_s": round(statistics.median(firsts), 4) if firsts else None,
            "click_s": round(statistics.median(others), 4) if others else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null stands for what is not known."""
        return {
            "format": FORMAT,
            "oncoseg": __version__,
            "model": self.model,
            "clicks": self.most,
            "summary": self.summary(),
            "targets": [asdict(one) for one in self.targets],
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """Plain text: a line a region, then the notes."""
        shown = [count for count in SHOWN if count <= self.most]
        head = ("region", "targets", "NoC@85", "never", "NoC@90", "never")
        rows = [(*head, *(f"Dice@{count}" for count in shown), "seconds a click")]
        for name, one in self.summary().items():
            dice = (f"{one['dice'][count - 1]['mean']:.3f}" for count in shown)
            nocs = (_between(one["noc85"]), str(one["never85"]), _between(one["noc90"]))
            pace = "-" if one["click_s"] is None else f"{one['click_s']:.3f}"
            row = (name, str(one["targets"]), *nocs, str(one["never90"]), *dice, pace)
            rows.append(row)
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
        rule = f"Note: a target that never reaches the IoU counts as {self.most} clicks."
        return "\n".join([*map(str.rstrip, lines), rule, *(f"Note: {one}" for one in self.notes)])


def clicks(
    model: str | Path,
    data: Path,
    *,
    most: int = 20,
    cases: Sequence[str] = (),
    device: str = "",
    to: Path | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> Clicked:
    """Click `most` times on each labelled structure of each case, on the scan's own grid.

    The first click is the deepest voxel of the structure, the next ones that of the largest error;
    none is clicked twice. A model that was taught on connected pieces (`clicks:connected=true`) is
    measured on each of them. What cannot be read or clicked counts as the worst: a Dice of 0, never
    reached. With `to`, the figures are written there (`clicks.json`). Needs torch. Raises `BadRun`
    for a model that follows no prompts, `BadData` if there is nothing to click.
    """
    require("torch", "train")
    if most < 1:
        raise BadOption(f"at least one click is needed, not {most}")
    opened = open_model(model)
    found = find(Path(data))
    names = {value: name for name, value in found.description.get("labels", {}).items()}
    sources = only([one for one in found.sources if one.labels], cases)
    targets: list[Target] = []
    for source in bar(sources, "clicks"):
        targets += _case(opened, source, names, most, device)
    if not any(one.seconds for one in targets):
        failure = next((one.failure for one in targets), "it holds no labelled structure")
        raise BadData(f"{data}: nothing could be clicked; {failure}")
    notes = [
        f"Case {one.case}, {one.region}, failed and counts as the worst: {one.failure}."
        for one in targets
        if one.failure
    ]
    result = Clicked(opened.sha256, most, tuple(targets), tuple(notes), samples, seed)
    if to is not None:
        files.write_json(Path(to) / "clicks.json", result.as_dict())
    return result


def _case(
    model: Model, source: Source, names: Mapping[int, str], most: int, device: str
) -> list[Target]:
    """Every structure of a case."""
    try:
        case = read_case(source, modalities=model.task.modalities)
        session = Session(model, replace(case, labels={}, annotated=()), device=device)
    except (BadData, BadFile) as error:  # a model that follows no prompts is not the case's fault
        if isinstance(error, BadFile) and error.path == model.path:
            raise
        return [_worst(source, ALL, most, str(error))]
    chosen = registry.chosen("methods", str(model.card["method"]))
    regions = _regions(case, names, pieces=bool(chosen.get("connected")))
    return [_clicked(session, source, region, truth, most) for region, truth in regions]


def _regions(case: Case, names: Mapping[int, str], *, pieces: bool) -> Iterator[tuple[str, Array]]:
    """Each structure that is there, and its mask (*S) on the case's grid; or each of its pieces."""
    drawn = case.labels.get(case.reference, next(iter(case.labels.values())))
    label = resample(drawn.array.astype(np.int32), drawn.grid, case.grid, order=0)
    for value in np.unique(label[label > 0]):
        mask = label == value
        numbers, count = components(mask, CONNECTIVITY) if pieces else (mask.astype(np.int8), 1)
        for number in range(1, count + 1):
            yield names.get(int(value), str(value)), numbers == number


def _clicked(session: Session, source: Source, region: str, truth: Array, most: int) -> Target:
    """One structure; the session is as it was before."""
    blocks = require("oncoseg.blocks.clicks", "train")
    timed = Timed(session)
    try:
        dice = blocks.dice_curve(timed, truth, most)
    except (BadData, BadOption) as error:
        return _worst(source, region, most, str(error), int(truth.sum()))
    finally:
        while session.asked:
            session.undo()
    target = _worst(source, region, most, "", int(truth.sum()))
    noc85, noc90 = (blocks.clicks_needed(dice, goal) for goal in GOALS)
    return replace(
        target,
        dice=tuple(round(value, 6) for value in dice),
        noc85=noc85[0],
        reached85=noc85[1],
        noc90=noc90[0],
        reached90=noc90[1],
        seconds=tuple(timed.seconds),
    )


def _worst(source: Source, region: str, most: int, failure: str, voxels: int = 0) -> Target:
    return Target(
        source.case,
        source.patient,
        region,
        voxels,
        dice=(0.0,) * most,
        noc85=most,
        reached85=False,
        noc90=most,
        reached90=False,
        failure=failure,
    )


class Timed:
    """A session that notes how long each click takes, up to its mask."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seconds: list[float] = []
        self.mask: Array = session.mask

    def click(self, *place: float, foreground: bool = True) -> None:
        """Click, and look at the mask."""
        began = time.perf_counter()
        self.session.click(*place, foreground=foreground)
        self.mask = self.session.mask
        self.seconds.append(round(time.perf_counter() - began, 4))


def _between(one: Mapping[str, Any]) -> str:
    if one["low"] is None:
        return f"{one['mean']:.2f}"
    return f"{one['mean']:.2f} ({one['low']:.2f} to {one['high']:.2f})"


called(__name__)
