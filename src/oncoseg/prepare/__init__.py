"""Prepare: a data set's fingerprint decides a plan.

Its cases become arrays that patches are read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncoseg.case import Case, Source, Task
from oncoseg.errors import BadData, OncosegError
from oncoseg.prepare.align import Aligned, align, crop, working_grid
from oncoseg.prepare.plan import MOST, Fingerprint, Plan, make_plan
from oncoseg.prepare.store import Stored, open_store, splits, write
from oncoseg.read import Found, canonical, digest, find, read_case, read_label
from oncoseg.verb import called

__all__ = [
    "Aligned",
    "Plan",
    "Stored",
    "align",
    "define_task",
    "held_out",
    "ignoring",
    "open_store",
    "prepare",
    "splits",
]

IGNORE = "ignore"  # the label of voxels of which nothing is known


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
) -> Path:
    """Data set folder -> store folder with `plan.json` and a folder a case.

    Returns the path of the plan.

    `labels`, `regions` and `modalities` win over what the data set says of itself; voxels of the
    label `ignore` are not learned from. A `plan` made
    before (and perhaps edited) is used as it is. Raises `BadData` naming every case that cannot be
    used, and on the same image under two names; nothing is left out silently. Cases that an earlier
    preparation left in `to` are replaced. `bare` allows a data set without any label map, for
    methods that need none.
    """
    found = ignoring(find(data), labels)
    drawn = any(source.labels for source in found.sources)
    if bare and not drawn:
        labels = labels or found.description.get("labels") or {"target": 1}
    task = define_task(data, found.sources, found.description, labels, regions, modalities)
    if not (drawn or bare):
        raise BadData(f"{data}: no case has a label map; training needs at least one")
    made = (
        Plan.read(plan)
        if plan
        else make_plan(task, fingerprint(found.sources, task), voxels=voxels)
    )
    # An earlier preparation may hold cases that have been removed since.
    for stale in (to / "plan.json", *to.glob("*/case.json")):
        stale.unlink(missing_ok=True)
    seen: dict[str, str] = {}
    for number, source in enumerate(_progress(found.sources, "prepare")):
        case = read_case(source, modalities=made.task.modalities, labels=made.task.labels)
        _refuse_duplicates(case, seen)
        record = {
            "case": case.id,
            "patient": case.patient,
            "site": case.site,
            "modalities": list(case.images),
        }
        write(to / case.id, align(case, made), made.task, record, seed=number)
    return made.write(to / "plan.json")


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
    values = {name: int(at) for name, at in values.items() if int(at) and name != IGNORE}
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
        for member in members:
            if member not in values:
                raise BadData(
                    f"region {name} is made of '{member}', but the labels are {', '.join(values)}"
                )
    return Task(str(description.get("name") or data.resolve().name), tuple(names), values, parts)


def fingerprint(sources: Sequence[Source], task: Task) -> Fingerprint:
    """Shapes and spacings of all cases, cut to the body, and intensities inside the labels."""
    shapes, spacings = [], []
    samples: dict[str, list[np.ndarray]] = {name: [] for name in task.modalities}
    problems = []
    for source in _progress(sources, "fingerprint"):
        try:
            case = read_case(source, modalities=task.modalities, labels=task.labels)
        except OncosegError as error:
            problems.append(str(error))
            continue
        turned = working_grid(crop(case, case.grid, list(case.images)))
        shapes.append(turned.shape)
        spacings.append(turned.spacing)
        for name, values in _inside(case).items():
            samples[name].append(values)
    if problems:
        listed = "\n  ".join(problems)
        raise BadData(
            f"{len(problems)} of {len(sources)} cases cannot be used; mend or remove "
            f"them:\n  {listed}"
        )
    if len({len(shape) for shape in shapes}) > 1:
        raise BadData("some cases are 2-D and some are 3-D; prepare them apart")
    return Fingerprint(shapes, spacings, samples)


def held_out(
    cases: Sequence[Stored], folds: int, fold: int, hold: Sequence[str] = ()
) -> tuple[list[Stored], list[Stored]]:
    """Cases to train on and cases held out.

    Held out are the patients named in `hold`, else one of `folds` (1 holds none out). Nothing of a
    patient that is held out is trained on; what is not labelled of it is in neither list of a fold.
    """
    patients = {case.patient for case in cases}
    for name in set(hold) - patients:
        raise BadData(f"no patient '{name}' to hold out; there are {', '.join(sorted(patients))}")
    if hold:
        names = {case.id for case in cases if case.patient in hold}
    else:
        names = set(splits(list(cases), folds)[fold]) if folds > 1 else set()
    held = [case for case in cases if case.id in names]
    apart = {case.patient for case in held}
    return [case for case in cases if case.patient not in apart], held


def _inside(case: Case) -> dict[str, np.ndarray]:
    """Modality -> up to 5000 intensities inside any label drawn on its own grid."""
    rng = np.random.default_rng(0)
    values = {}
    for name, volume in case.images.items():
        label = case.labels.get(name)
        if label is None or label.array.shape != volume.array.shape or not label.array.any():
            continue
        known = (label.array > 0) & (label.array != (case.ignore or -1))
        inside = volume.array[known].astype(np.float32)
        values[name] = rng.choice(inside, min(5000, inside.size), replace=False)
    return values


def _values(sources: Sequence[Source]) -> dict[str, int]:
    """Label values found in the files, named by their number; a single label is called `tumour`."""
    seen: set[int] = set()
    for source in sources:
        for path in source.labels.values():
            seen |= {int(value) for value in np.unique(read_label(path).array)}
    seen -= {0, *(source.ignore for source in sources)}
    if seen in ({1}, {255}):
        return {"tumour": seen.pop()}
    return {f"label_{value}": value for value in sorted(seen)}


def ignoring(found: Found, labels: Mapping[str, int] | None) -> Found:
    """With the value of the label `ignore`, if the user names one."""
    if not labels or IGNORE not in labels:
        return found
    sources = [replace(source, ignore=int(labels[IGNORE])) for source in found.sources]
    return replace(found, sources=sources)


def _refuse_duplicates(case: Case, seen: dict[str, str]) -> None:
    for name, volume in case.images.items():
        other = seen.setdefault(digest(volume), case.id)
        if other != case.id:
            raise BadData(
                f"cases {other} and {case.id} hold the same {name} image "
                f"({volume.path.name}); remove one of them, or"
                " a patient would be trained on and tested on"
            )


def _progress(items: Sequence[Any], name: str) -> Any:
    return tqdm(items, desc=name, unit="case", disable=None, delay=2, leave=False)


called(__name__)
