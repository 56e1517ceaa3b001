"""All cases beside one another: what is missing, there twice, or unlike the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from oncoseg.blocks import layouts
from oncoseg.blocks.modalities import COLOURS
from oncoseg.case import Array
from oncoseg.check.records import Image, Problem, Seen, base, few, numbers
from oncoseg.read import Found, canonical

FAR = 3.0  # how many times another spacing, or field of view, is from the middle one to be odd
ENOUGH, TIMES, DEVIATIONS = 8, 10.0, 5.0  # cases, and how far a volume is from the others'
BRIGHT = 30.0  # as many times brighter or darker than the middle one
FOREIGN = (".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".mnc", ".npy", ".npz", ".mat", ".dcm")


def missing(cases: Sequence[Seen], found: Found, modalities: Sequence[str]) -> list[Problem]:
    """Cases without a modality that is stated, or that at least half of the cases have."""
    given = Counter(name for source in found.sources for name in source.images)
    stated = [canonical(name) for name in modalities or found.description.get("modalities", ())]
    wanted = stated or [name for name, count in given.items() if 2 * count >= len(found.sources)]
    problems = []
    for source in found.sources:
        lacking = [name for name in wanted if name not in source.images]
        if not lacking:
            continue
        cause = f"lacks {', '.join(lacking)} of {', '.join(wanted)}"
        severity, remedy = "warning", "add it, or expect less accuracy"
        if len(lacking) == len(wanted):
            severity, remedy = "error", "add one of them, or remove the case"
        problems.append(Problem(severity, "modality", source.case, "", cause, remedy))
    return problems


def labelling(
    folder: Path, cases: Sequence[Seen], scheme: Mapping[str, int] | None
) -> list[Problem]:
    """Labels that no case has, values that have no name, cases without any label map."""
    seen = {value for case in cases for value in case.values}
    if scheme:
        absent = [name for name, value in scheme.items() if value not in seen and name != "ignore"]
        if not (absent and seen):
            return []
        cause, remedy = (
            f"no case has the label {', '.join(absent)}",
            "correct the scheme or the maps",
        )
        return [Problem("warning", "label", "", str(folder), cause, remedy)]
    if not seen:
        return []
    cause = f"labels {', '.join(map(str, sorted(seen)[:20]))} have no names"
    return [Problem("note", "label", "", str(folder), cause, "state them: --labels tumour=1")]


def twice(cases: Sequence[Seen]) -> list[Problem]:
    """The same voxels under two names: across cases a leak, within one a copy."""
    first: dict[str, tuple[str, Image]] = {}
    problems = []
    for case in cases:
        for image in case.images:
            other, copy = first.setdefault(image.digest, (case.case, image))
            if other != case.case:
                cause = (
                    f"is the same {image.name} image as that of case {other} ({base(copy.path)})"
                )
                remedy = "remove one, or a patient would be trained on and tested on"
                problems.append(Problem("error", "twice", case.case, image.path, cause, remedy))
            elif copy.name != image.name and image.name not in COLOURS:
                cause = f"is the same image as {copy.name} ({base(copy.path)})"
                remedy = "put the right scan there, or remove it"
                problems.append(Problem("warning", "twice", case.case, image.path, cause, remedy))
    return problems


def grouping(cases: Sequence[Seen]) -> list[Problem]:
    """Patients with several cases."""
    patients: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        patients[case.patient].append(case.case)
    remedy = "nothing: they are kept together when patients are split"
    return [
        Problem("note", "patient", name, "", f"has {len(some)} cases: {few(some)}", remedy)
        for name, some in patients.items()
        if len(some) > 1
    ]


def kinds(cases: Sequence[Seen]) -> list[Problem]:
    """Images of two and of three dimensions beside one another, which no model takes."""
    dims = Counter(len(image.shape) for case in cases for image in case.images)
    if len(dims) < 2:
        return []
    cause = "some images are 2-D and some are 3-D"
    return [Problem("error", "shape", "", "", cause, "keep them in folders of their own")]


def outliers(cases: Sequence[Seen]) -> list[Problem]:
    """Images whose spacing, field of view or brightness is far from the middle of their kind."""
    kinds: dict[str, list[tuple[str, Image]]] = defaultdict(list)
    for case in cases:
        for image in case.images:
            kinds[f"{image.name} in {len(image.shape)}-D"].append((case.case, image))
    problems = []
    for some in kinds.values():
        if len(some) < 3:
            continue
        for what, far, measured in (
            ("spacing (mm)", FAR, [np.sort(image.spacing) for _, image in some]),
            ("field of view (mm)", FAR, [_view(image) for _, image in some]),
            ("brightness", BRIGHT, [np.array([max(image.bright, 1e-9)]) for _, image in some]),
        ):
            middle = np.median(measured, axis=0)
            for (name, image), own in zip(some, measured):
                if np.abs(np.log(own / middle)).max() > np.log(far):
                    theirs = f"{numbers(own)}, most of its kind {numbers(middle)}"
                    cause = f"has an odd {what}: {theirs}"
                    remedy = "look whether its header and its unit are right"
                    problems.append(Problem("warning", "outlier", name, image.path, cause, remedy))
    return problems


def volumes(cases: Sequence[Seen], scheme: Mapping[str, int] | None) -> list[Problem]:
    """Labels that fill far more or less than in other cases, by the spread of their logarithms.

    Far is 5 deviations, and ten times, from the middle of at least 8 cases; without names all
    labels are one.
    """
    wanted = {name: {value} for name, value in (scheme or {}).items() if name != "ignore"}
    wanted = wanted or {"the label": {value for case in cases for value in case.volumes}}
    problems = []
    for name, values in wanted.items():
        sums = [sum(case.volumes.get(value, 0.0) for value in values) for case in cases]
        drawn = [(case, size) for case, size in zip(cases, sums) if size > 0]
        if len(drawn) < ENOUGH:
            continue
        sizes = np.log([size for _, size in drawn])
        middle = float(np.median(sizes))
        away = np.abs(sizes - middle)
        far = max(np.log(TIMES), DEVIATIONS * 1.4826 * float(np.median(away)))
        for (case, size), distance in zip(drawn, away):
            if distance > far:
                cause = f"has an odd volume of {name}: {size:.4g} mm³, "
                cause += f"in the middle {np.exp(middle):.4g}"
                remedy = "look whether it is drawn, and its unit, as in the others"
                problems.append(Problem("warning", "outlier", case.case, "", cause, remedy))
    return problems


def _view(image: Image) -> Array:
    return np.sort(np.multiply(image.shape, image.spacing))


def passed_over(folder: Path, found: Found) -> list[Problem]:
    """Scans in the folder that belong to no case, by the folder that they lie in."""
    if folder.is_file() or found.layout == "dicom":
        return []
    used = {path for one in found.sources for path in (*one.images.values(), *one.labels.values())}
    strange: dict[Path, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        scan = bool(layouts.ending(path)) or path.name.lower().endswith(FOREIGN)
        if scan and not layouts.hidden(path) and not used.intersection((path, path.parent)):
            strange[path.parent].append(path.name)
    remedy = "nothing, if they are not meant to be; else name and place them as the layout does"
    problems = []
    for place, names in strange.items():
        cause = f"{len(names)} scans in it belong to no case: {few(names)}"
        problems.append(Problem("note", "unused", "", str(place), cause, remedy))
    return problems
