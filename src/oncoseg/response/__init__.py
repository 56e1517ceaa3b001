"""Response: what changed since earlier scans, lesion by lesion, and what a rule calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import results
from oncoseg.blocks.planes import slice_axis
from oncoseg.case import Array, Prediction, Volume
from oncoseg.errors import BadData, BadRun
from oncoseg.response import categories, changes, resection
from oncoseg.response.align import Aligned, Told, align, same_patient
from oncoseg.response.match import Track, Visit, follow

TITLE = "Change since the earlier scan"
TILTED = 5.0  # degrees


@dataclass(frozen=True)
class Earlier:
    """What is to be compared with, and how.

    `priors` are folders of predictions, or single records, the latest first; `rule` is `recist` or
    `rano`, with the options of that finding; `told` is what a person knows of the last visit, as
    `clinical`: `stable` (see `response.course.Visit`); with `resection` the latest prior is the
    last scan before surgery. A `single` case takes a prior of any name, if that is single too.
    """

    priors: Sequence[Path] = ()
    rule: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    resection: bool = False
    single: bool = True

    def __bool__(self) -> bool:
        return bool(self.priors)

    def checked(self, cases: int) -> Earlier:
        """For so many cases, or what cannot work: `BadRun`, `BadOption`, `UnknownName`."""
        categories.checked(self.rule, self.told)
        if not self.priors and (self.rule or self.resection):
            asked = f"rule {self.rule}" if self.rule else "extent of resection"
            raise BadRun(f"{asked} needs an earlier scan; give it with --prior")
        return replace(self, single=cases == 1)


@dataclass(frozen=True)
class Compared:
    """Sections of a report by name, and what pictures of them need.

    `prior` is the latest earlier prediction, and `matrix` takes points of the present scan to it.
    """

    sections: dict[str, dict[str, Any]]
    prior: Prediction
    matrix: Array
    tracks: Sequence[Track]


def compare(
    now: Prediction,
    images: Mapping[str, Volume],
    earlier: Earlier,
    *,
    record: Path | None = None,
    named: bool = True,
) -> Compared:
    """The sections `change`, and `response` and `resection` if asked for.

    `record` is that of `now`; cases of priors are `named` or not. Raises `BadData` for a prior that
    is missing, of another patient or task, later, or that cannot be aligned.
    """
    loaded = [_load(path, now, record, single=earlier.single) for path in earlier.priors]
    if now.grid.dims == 2:
        note = "Change since earlier scans was not assessed: images of two dimensions cannot be"
        flat: dict[str, Any] = {"title": TITLE, "method": changes.METHOD, "rows": []}
        sections = {"change": flat | {"notes": [f"{note} aligned."]}}
        return Compared(sections, now, np.eye(3), ())
    known = [same_patient(now, one) for one in loaded]
    loaded, told, notes = _ordered(loaded, known)
    aligned = [align(now, images, one) for one in loaded]
    predictions = [*loaded, now]
    visits = [Visit.of(one, at.matrix, at.error_mm) for one, at in zip(loaded, aligned)]
    visits.append(Visit.of(now, np.eye(4)))
    tracks, names = follow(visits), _names(told)
    section: dict[str, Any] = {
        "title": TITLE if len(loaded) == 1 else f"{TITLE}s",
        "method": changes.METHOD,
        "rows": [
            *_facts(loaded, told, aligned, names, named=named),
            *changes.region_rows(now, loaded[-1], tracks),
            *changes.lesion_rows(tracks, names),
        ],
        "notes": [*notes, *_doubts(predictions, names), *_tilted(now, loaded, aligned, names)],
        "visits": [
            {"name": name, "days_earlier": "not known" if day is None else day}
            for name, day in zip(names, [*told, 0])
        ],
        "tracks": [changes.plain(track, tracks) for track in tracks],
    }
    found = {"change": section}
    if earlier.rule:
        found["response"] = categories.section(
            earlier.rule, predictions, tracks, names, earlier.told
        )
    if earlier.resection:
        found["resection"] = resection.section(now, loaded[-1], visits[-2:])
    return Compared(found, loaded[-1], aligned[-1].matrix, tracks)


def find(place: Path, case: str, *, single: bool = True) -> Path:
    """The record of a case's prior: `place` itself, or in that folder the one of its name.

    The only one there serves whatever its name, if `single`. Raises `BadData` if there is none.
    """
    place = Path(place)
    if place.is_file():
        return place
    found = results.find(place)
    if not found:
        cause = "holds no prediction" if place.is_dir() else "is not there"
        raise BadData(f"prior {place}: {cause}; run 'oncoseg predict' on the earlier scan first")
    if case in found:
        return found[case]
    if single and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(list(found)[:5]) + (", ..." if len(found) > 5 else "")
    raise BadData(
        f"prior {place}: holds no prediction of case {case}, but of {names}; name its record, as "
        f"{place / next(iter(found.values())).name}"
    )


def _load(place: Path, now: Prediction, record: Path | None, *, single: bool) -> Prediction:
    """A prior, if it can be compared with at all."""
    path = find(place, now.case, single=single)
    if record is not None and path.resolve() == Path(record).resolve():
        raise BadData(f"prior {path}: is the very prediction to report on; give an earlier one")
    prior = results.load(path)[0]
    sums = [
        {str(said["sha256"]) for said in one.inputs.values() if said.get("sha256")}
        for one in (now, prior)
    ]
    if sums[0] & sums[1]:
        raise BadData(f"prior {path}: was made of the same scan as {now.case}; give an earlier one")
    ours, theirs = now.task, prior.task
    if dict(ours.regions) != dict(theirs.regions) or dict(ours.labels) != dict(theirs.labels):
        raise BadData(
            f"prior {path}: has regions {', '.join(theirs.regions)} of task {theirs.name}, but "
            f"case {now.case} {', '.join(ours.regions)} of {ours.name}; predict both with one model"
        )
    if now.grid.dims != prior.grid.dims:
        raise BadData(f"prior {path}: is {prior.grid.dims}-D, but case {now.case} is not")
    return prior


def _ordered(
    loaded: Sequence[Prediction], known: Sequence[tuple[Told, Told]]
) -> tuple[list[Prediction], list[int | None], list[str]]:
    """Priors, the first visit first, how many days before each is, and what has to be said.

    By day where all are known, else as given; raises `BadData` if known days contradict that.
    """
    days: list[int | None] = [
        (ours.day - theirs.day).days if ours.day and theirs.day else None for ours, theirs in known
    ]
    pairs = list(zip(loaded, days))
    told = [day for day in days if day is not None]
    if len(told) == len(days):
        pairs.sort(key=lambda pair: pair[1] or 0)
    elif told != sorted(told):
        raise BadData("priors are not in order by their DICOM files; give the latest first")
    notes = []
    if len(told) < len(days):
        order = "; the order is that of the command line, the latest first" if len(days) > 1 else ""
        notes.append(
            f"The dates of the scans are not known, so neither is the time between{order}."
        )
    pairs.reverse()
    return [one for one, _ in pairs], [day for _, day in pairs], notes


def _names(told: Sequence[int | None]) -> list[str]:
    """What visits are called: now, before, and earlier ones by their days or their place."""
    early = [
        f"scan {number}" if day is None else f"{day} days before"
        for number, day in enumerate(told[:-1], start=1)
    ]
    if len(set(early)) < len(early):
        early = [f"{name}, scan {number}" for number, name in enumerate(early, start=1)]
    return [*early, changes.BEFORE, changes.NOW]


def _facts(
    priors: Sequence[Prediction],
    told: Sequence[int | None],
    aligned: Sequence[Aligned],
    names: Sequence[str],
    *,
    named: bool,
) -> list[dict[str, Any]]:
    """Which scans are compared, and how well they were aligned."""
    rows = []
    for one, day, at, name in zip(priors, told, aligned, names):
        when = "on a day that is not known" if day is None else f"{day} days earlier"
        scan = name if name.startswith("scan") else f"scan {name}"
        case = f"case {one.case}, " if named else ""
        rows.append({"name": scan, "value": f"{case}{when}", "unit": ""})
        rows.append({"name": f"alignment, {scan}", "value": at.said, "unit": ""})
    return rows


def _doubts(predictions: Sequence[Prediction], names: Sequence[str]) -> list[str]:
    """What a reader must know before trusting a change."""
    told = []
    models = {
        (str(one.model.get("name", "")), str(one.model.get("sha256", ""))) for one in predictions
    }
    if len(models) > 1:
        told.append(
            "The scans were segmented by different models, so a change may be one of models."
        )
    if len({frozenset(one.used) for one in predictions}) > 1:
        told.append(
            "The scans were segmented from different modalities, so a change may come of that."
        )
    empty = [name for one, name in zip(predictions, names) if not one.label.any()]
    told += [f"Nothing was found in the scan of {name}, so nothing to match." for name in empty]
    return told


def _tilted(
    now: Prediction, priors: Sequence[Prediction], aligned: Sequence[Aligned], names: Sequence[str]
) -> list[str]:
    """Diameters are of slices, which are other cuts if they are tilted against each other."""
    told = []
    for one, at, name in zip(priors, aligned, names):
        here, there = _normal(now), _normal(one)
        angle = np.degrees(np.arccos(min(1.0, abs(float((at.matrix[:3, :3] @ here) @ there)))))
        if angle > TILTED:
            told.append(
                f"Slices of now and {name} are tilted by {angle:.0f} degrees against each other, "
                "so diameters in them, and what a rule makes of these, are of other cuts; volumes "
                "do not depend on it."
            )
    return told


def _normal(prediction: Prediction) -> Array:
    """The direction across the slices in RAS."""
    column = prediction.grid.affine[:3, slice_axis(prediction.grid)[0]]
    return np.asarray(column / np.linalg.norm(column))
