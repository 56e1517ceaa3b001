"""Prepare: a data set's fingerprint decides a plan.

Its cases become arrays that patches are read from.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.case import Source, Task
from oncoseg.errors import BadData
from oncoseg.prepare.align import Aligned, align
from oncoseg.prepare.look import Looks, Seen, each, gathered, named, refuse_duplicates, what_stays
from oncoseg.prepare.plan import MOST, Fingerprint, Plan, make_plan
from oncoseg.prepare.store import Stored, open_store, owners, splits, write
from oncoseg.read import Found, canonical, find, read_case, read_label
from oncoseg.verb import called

__all__ = [
    "Aligned",
    "Plan",
    "Stored",
    "agreed",
    "align",
    "define_task",
    "held_out",
    "ignoring",
    "open_store",
    "prepare",
    "splits",
]

IGNORE = "ignore"  # the label of voxels of which nothing is known
MANY = 20  # things that a case may hold before they are taken for instances


def prepare(
    data: Path,
    to: Path,
    *,
    labels: Mapping[str, int] | None = None,
    regions: Mapping[str, Sequence[str]] | None = None,
    modalities: Sequence[str] = (),
    voxels: int = MOST,
    plan: Path | None = None,
    bare: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Data set folder -> store folder with `plan.json` and a folder a case.

    Returns the path of the plan.

    `labels`, `regions` and `modalities` win over what the data set says of itself; voxels of the
    label `ignore` are not learned from. A `plan` made before (and perhaps edited) is used as it is.
    Raises `BadData` naming every case that cannot be used, on the same image under two names, and
    on a plan that says otherwise than what is asked for; nothing is left out silently. Of what an
    earlier preparation left in `to`, cases of which no file has changed stay, unless the plan makes
    other arrays of them; all else is replaced, and `tell` is told which and why. `bare` allows a
    data set without any label map, for methods that need none.
    """
    found = ignoring(find(data), labels)
    described = found.description.get("labels") or {}
    given = agreed(plan, labels or {}, regions or {}, modalities, described) if plan else None
    drawn = any(source.labels for source in found.sources)
    if bare and not drawn:
        labels = labels or found.description.get("labels") or {"target": 1}
    task = define_task(data, found.sources, found.description, labels, regions, modalities)
    if not (drawn or bare):
        raise BadData(f"{data}: no case has a label map; training needs at least one")
    seen = Looks(given.task if given else task, to)(found.sources)
    refuse_duplicates(seen)
    made = given or make_plan(task, gathered(seen), voxels=voxels)
    if tell and (said := what_stays(seen, made, to / "plan.json")):
        tell(said)
    staying = {one.source.case for one in seen if one.made == named(made)}
    (to / "plan.json").unlink(missing_ok=True)
    for stale in (*to.glob("*/case.json"), *to.glob("*/*.b2nd")):  # of patients that left, too
        if stale.parent.name not in staying:
            stale.unlink(missing_ok=True)
    work = partial(_written, to, made)
    for _ in each(work, [one for one in seen if one.source.case not in staying], "prepare"):
        pass
    return made.write(to / "plan.json")


def agreed(
    path: Path,
    labels: Mapping[str, int],
    regions: Mapping[str, Sequence[str]],
    modalities: Sequence[str],
    described: Mapping[str, int],
) -> Plan:
    """A plan made before; raises `BadData` where what is asked for, or a data set, is otherwise.

    Labels `described` by a data set may be more or fewer than those of the plan, and those that are
    asked for win over them.
    """
    plan = Plan.read(path)
    task = plan.task
    both = [name for name in described if name in task.labels and not labels]
    its = {name: task.labels[name] for name in both}
    asked: list[tuple[str, Any, Any]] = [
        ("labels", {name: int(described[name]) for name in both}, its),
        ("labels", _foreground(labels), dict(task.labels)),
        ("regions", {name: tuple(each) for name, each in regions.items()}, dict(task.regions)),
        ("modalities", sorted(map(canonical, modalities)), sorted(task.modalities)),
    ]
    for what, said, has in asked:
        if said and said != has:
            raise BadData(f"{path} has the {what} {has}, and not {said}; make them agree")
    return plan


def _foreground(labels: Mapping[str, int]) -> dict[str, int]:
    return {name: int(at) for name, at in labels.items() if int(at) and name != IGNORE}


def _written(to: Path, plan: Plan, seen: Seen) -> None:
    """Align and store a case, which is read again unless it was kept."""
    task = plan.task
    case = seen.case or read_case(seen.source, modalities=task.modalities, labels=task.labels)
    record = {
        "case": case.id,
        "patient": case.patient,
        "site": case.site,
        "modalities": list(case.images),
        "look": seen.record,
        "made": named(plan),
    }
    aligned = align(case, plan)
    record["appearance"] = aligned.appearance(task)
    # By its name, so that it stays the same when other cases come and go.
    write(to / case.id, aligned, task, record, seed=zlib.crc32(case.id.encode()))


def define_task(
    data: Path,
    sources: Sequence[Source],
    description: Mapping[str, Any],
    labels: Mapping[str, int] | None = None,
    regions: Mapping[str, Sequence[str]] | None = None,
    modalities: Sequence[str] = (),
) -> Task:
    """The task as the user states it, else as the data set's own description does.

    Where neither says, its files decide.
    """
    names = [canonical(name) for name in modalities or description.get("modalities", ())]
    if not names:
        names = sorted({name for source in sources for name in source.images})
    values = dict(labels or description.get("labels") or _values(sources))
    values = _foreground(values)
    if not values:
        raise BadData(f"{data}: no label has a name; state them, for example --labels tumour=1")
    if len({*values.values()}) < len(values) or not all(0 < each < 256 for each in values.values()):
        raise BadData(f"{data}: labels are distinct numbers from 1 to 255, not {values}")
    parts = {
        name: tuple(members)
        for name, members in (regions or description.get("regions") or {}).items()
    }
    parts = parts or {name: (name,) for name in values}
    for name, members in parts.items():
        if not members:
            raise BadData(f"region {name} is made of no label; the labels are {', '.join(values)}")
        for member in members:
            if member not in values:
                raise BadData(
                    f"region {name} is made of '{member}', but the labels are {', '.join(values)}"
                )
    return Task(str(description.get("name") or data.resolve().name), tuple(names), values, parts)


def fingerprint(sources: Sequence[Source], task: Task) -> Fingerprint:
    """Shapes and spacings of all cases, cut to the body, and intensities inside the labels."""
    return gathered(Looks(task)(sources))


def held_out(
    cases: Sequence[Stored],
    folds: int,
    fold: int,
    hold: Sequence[str] = (),
    by: str = "patient",
) -> tuple[list[Stored], list[Stored]]:
    """Cases to train on and cases held out.

    Held out are the patients named in `hold`, else one of `folds` (1 holds none out). Nothing of a
    patient that is held out is trained on, nor of its site if `by` says so; what is not labelled of
    it is in neither list of a fold.
    """
    patients = {case.patient for case in cases}
    for name in set(hold) - patients:
        raise BadData(f"no patient '{name}' to hold out; there are {', '.join(sorted(patients))}")
    if folds > 1 and not hold and not 0 <= fold < folds:
        raise BadData(f"one of {folds} folds is held out, counted from 0, not {fold}")
    if hold:
        names = {case.id for case in cases if case.patient in hold}
    else:
        names = set(splits(list(cases), folds, by=by)[fold]) if folds > 1 else set()
    held = [case for case in cases if case.id in names]
    owner = owners(cases, by)
    apart = {owner[case.id] for case in held}
    return [case for case in cases if owner[case.id] not in apart], held


def _values(sources: Sequence[Source]) -> dict[str, int]:
    """Label values found in the files, named by their number; a single one is called `tumour`.

    Raises `BadData` on maps that seem to number instances.
    """
    drawn = [(path, source) for source in sources for path in source.labels.values()]

    def values(one: tuple[Path, Source]) -> set[int]:
        path, source = one
        found = np.unique(read_label(path, instances=source.instances).array)
        return {int(value) for value in found} - {0, source.ignore}

    found = list(each(values, drawn, "labels"))
    counts = [len(one) for one in found if one == set(range(1, len(one) + 1))]
    if len(counts) == len(found) and max(counts, default=0) > MANY and min(counts) < max(counts):
        raise BadData(
            f"label maps hold 1 to N, with N from {min(counts)} to {max(counts)}, as those that "
            "number instances do; put such maps into a folder 'instances' beside 'images', or "
            "name what the numbers mean, for example --labels liver=1,spleen=2"
        )
    seen = set().union(*found)
    if seen in ({1}, {255}):
        counted = all(source.instances for _, source in drawn)
        return {"instances" if counted else "tumour": seen.pop()}
    return {f"label_{value}": value for value in sorted(seen)}


def ignoring(found: Found, labels: Mapping[str, int] | None) -> Found:
    """With the value of the label `ignore`, if the user names one."""
    if not labels or IGNORE not in labels:
        return found
    sources = [replace(source, ignore=int(labels[IGNORE])) for source in found.sources]
    return replace(found, sources=sources)


called(__name__)
