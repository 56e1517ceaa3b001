"""FROC: lesions found against lesions invented, over all cases, and the threshold that fits a use.

The module is itself the verb: `oncoseg.froc(predictions, truth)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files
from oncoseg.blocks.froc import IOU, RATES, SAMPLES, Found, Froc, checked, found
from oncoseg.errors import BadData, BadFile, BadOption, unknown
from oncoseg.evaluate.inputs import Compared, Inputs, failing, gather
from oncoseg.evaluate.probabilities import REMEDY, where
from oncoseg.evaluate.stream import streamed
from oncoseg.froc.curves import Curve, Curves
from oncoseg.froc.page import page
from oncoseg.verb import called

__all__ = ["Curve", "Curves", "froc"]
PARTS = ("smallest", "middle", "largest")


def froc(
    predictions: Path,
    truth: Path,
    *,
    false_positives: float | None = None,
    sensitivity: float | None = None,
    floor: float = 0.5,
    iou: float = IOU,
    regions: Mapping[str, Sequence[int]] | None = None,
    region: str = "",
    samples: int = SAMPLES,
    seed: int = 0,
    cases: Sequence[str] = (),
    to: Path | None = None,
) -> Curves:
    """The FROC curve of each region (of `region` alone) over two folders as `evaluate` takes them.

    Predictions need probability maps. The threshold is that with at most `false_positives` a case,
    or with at least a `sensitivity`; without either, that of all candidates, the `floor`. A
    candidate finds a lesion that it overlaps by the intersection over union `iou`; 0: by any voxel.
    A case that is missing or cannot be read counts as the worst: nothing of it is found, and it has
    as many false positives as the case with most of them. Raises `BadData` where no threshold does
    what is asked, or where there is no lesion. With `to`, the numbers and a page with the curves
    are written to that folder.
    """
    if false_positives is not None and sensitivity is not None:
        raise BadOption("ask for false positives or for a sensitivity, not for both")
    if not 0 < (1.0 if sensitivity is None else sensitivity) <= 1 or (false_positives or 0) < 0:
        raise BadOption("a sensitivity is above 0 and up to 1, false positives are 0 or more")
    inputs = gather(Path(predictions), Path(truth), regions).only(cases)
    names = list(inputs.scheme.regions)
    if region and region not in names:
        raise unknown("region", region, names)
    names = [region] if region else names
    _all_there(inputs, names)
    work = partial(_case, inputs=inputs, names=names, match=checked(floor, iou))
    seen = list(streamed(work, inputs.cases, title="froc"))
    known = [one for one in seen if one.status != "no truth"]
    if not any(one.status == "ok" for one in known):
        raise BadData(f"no case could be compared; {known[0].case}: {known[0].status}")
    patients = [one.patient for one in known]
    asked = {"false_positives": false_positives or 0.0, "sensitivity": sensitivity or 0.0}
    curves = []
    for name in names:
        scored = _worst([one.found[name] for one in known], [one.status == "ok" for one in known])
        curve = Froc(scored, patients, floor, name)
        chosen = false_positives is not None or sensitivity is not None
        point = curve.point(curve.chosen(**asked) if chosen else floor, samples, seed)
        sampled = curve.bootstrap(RATES, samples, seed)
        sizes = _sizes(known, scored, name, point.threshold)
        curves.append(Curve(name, curve, len(known), sampled, point, chosen, sizes))
    failed = tuple(one.case for one in known if one.status != "ok")
    notes = [note for one in seen for note in one.notes]
    result = Curves(
        tuple(curves), floor, iou, failed, tuple(dict.fromkeys([*inputs.notes, *notes]))
    )
    if to is not None:
        files.write_json(Path(to) / "froc.json", result.as_dict())
        files.write_text(Path(to) / "froc.html", page(result))
    return result


@dataclass(frozen=True)
class Seen:
    """What is kept of a case: a few numbers a lesion and candidate of each region.

    `voxel` is the size of one in `unit`.
    """

    case: str
    patient: str
    status: str
    found: Mapping[str, Found]
    voxel: float
    unit: str
    notes: tuple[str, ...]


def _case(case: str, *, inputs: Inputs, names: Sequence[str], match: tuple[float, float]) -> Seen:
    compared = inputs.read(case)
    status, notes = compared.status, list(compared.notes)
    if status == "no truth":
        notes.append(f"Without a truth, left out: {case}.")
    try:
        scored = {name: _scored(compared, inputs, name, match, status) for name in names}
    except BadFile as error:
        status, more = failing(case, str(error))
        notes += more
        scored = {name: _scored(compared, inputs, name, match, status) for name in names}
    if status == "missing":
        notes.append(f"Without a prediction, so nothing of it is found: {case}.")
    flat = compared.grid.dims == 2  # an area, in pixels where no size is known
    size = compared.grid.voxel_volume / (1 if flat else 1000)
    unit = "mm²" if flat else "ml"
    return Seen(case, compared.patient, status, scored, size, unit, tuple(notes))


def _scored(
    compared: Compared, inputs: Inputs, region: str, match: tuple[float, float], status: str
) -> Found:
    if status == "ok":
        return found(*compared.claimed(region, inputs.scheme), *match)
    true, ignored = compared.whole(region, inputs.scheme)
    return found(np.zeros(true.shape, np.float32), true & ~ignored, *match)


def _all_there(inputs: Inputs, names: Sequence[str]) -> None:
    """Raises `BadData` before any work if a probability map is not there."""
    for case, path in inputs.predictions.items():
        for name in names:
            wanted = where(path, case, name)
            if not wanted.exists():
                raise BadData(f"{wanted}: is not there, but FROC needs it; {REMEDY}")


def _worst(cases: Sequence[Found], known: Sequence[bool]) -> list[Found]:
    """Cases that could not be compared get as many false positives as the worst of the others."""
    most = max((one.false for one, ok in zip(cases, known) if ok), key=len)
    return [one if ok else Found(one.lesions, one.sizes, most) for one, ok in zip(cases, known)]


def _sizes(
    known: Sequence[Seen], cases: Sequence[Found], region: str, threshold: float
) -> tuple[Mapping[str, Any], ...]:
    """How many of each third of the lesions, by size, a threshold finds."""
    sizes = np.concatenate([one.found[region].sizes * one.voxel for one in known])
    hit = np.concatenate([one.lesions for one in cases]) >= threshold
    order = np.argsort(sizes, kind="stable")
    return tuple(
        {
            "part": name,
            "from": round(float(sizes[some[0]]), 6),
            "to": round(float(sizes[some[-1]]), 6),
            "unit": next(one.unit for one in known if one.found[region].sizes.size),
            "lesions": len(some),
            "found": int(hit[some].sum()),
        }
        for name, some in zip(PARTS, np.array_split(order, len(PARTS)))
        if len(some)
    )


called(__name__)
