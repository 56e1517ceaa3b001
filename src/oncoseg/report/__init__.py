"""Report: one page a case with pictures, measurements and where they come from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from oncoseg import __version__, files, registry, results
from oncoseg.blocks.planes import tilt, unit
from oncoseg.case import Array, Case, Prediction, Volume
from oncoseg.errors import BadData, OncosegError, unknown
from oncoseg.read import read_volume
from oncoseg.report.page import STAMP, Content, Measured, index, page, summary
from oncoseg.report.pictures import colours
from oncoseg.report.plates import plates
from oncoseg.report.tables import short, tabled
from oncoseg.verb import called

FORMAT = "oncoseg-report-1"
FINDINGS = ("volumes", "diameters", "extent", "quality")
OBLIQUE = 10.0
TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"


def report(
    predictions: Path,
    *,
    to: Path | None = None,
    cases: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> list[Path]:
    """Write `<case>.html` and `<case>.report.json` for every prediction, or for `cases` alone.

    They go beside the predictions or into the folder `to`; with more than one case `index.html`
    lists them. `findings` (`name:option=value`) are measured further to those of every report.
    Returns the pages, the list last. Raises `BadData` if there is no prediction, and,
    after all others have been written, if a prediction could not be reported on.
    """
    predictions, to = Path(predictions), Path(to or predictions)
    found = results.find(predictions)
    if not found:
        message = f"{predictions}: there is no prediction in it; run 'oncoseg predict' first"
        raise BadData(message)
    for name in cases:
        if name not in found:
            raise unknown("prediction", name, found)
    asked = [*FINDINGS, *_known(findings)]
    pages, rows, failed = [], [], []
    for name in cases or found:
        try:
            written, content = _one(found[name], to, asked)
        except OncosegError as error:
            failed.append(str(error))
            continue
        pages.append(written)
        rows.append((written.name, summary(content), content))
    if len(rows) > 1:
        pages.append(files.write_text(to / "index.html", index(rows, _today())))
    if failed:
        raise BadData(
            f"{len(failed)} of {len(failed) + len(rows)} not reported: {'; '.join(failed)}"
        )
    return pages


def _known(findings: Sequence[str]) -> Sequence[str]:
    """Findings as asked for: raises `UnknownName` or `BadOption` before any work."""
    for text in findings:
        registry.parse("findings", text)
    return findings


def measure(
    prediction: Prediction,
    record: Mapping[str, Any],
    images: Mapping[str, Volume],
    asked: Sequence[str] = FINDINGS,
) -> dict[str, dict[str, Any]]:
    """Every finding by its name; the expected Dice is the record's, made from all probabilities."""
    case = Case(prediction.case, prediction.case, images)
    found = {
        registry.parse("findings", text)[0]: registry.build("findings", text)(prediction, case)
        for text in asked
    }
    rows = found["quality"]["rows"]
    held = {row["region"] for row in rows if row["name"] == "expected Dice"}
    found["quality"]["rows"] += [
        {"region": region, "name": "expected Dice", "value": value, "unit": ""}
        for region, value in record.get("confidence", {}).items()
        if region not in held
    ]
    return found


def _one(path: Path, to: Path, asked: Sequence[str]) -> tuple[Path, Content]:
    prediction, record = results.load(path)
    images, told = _images(prediction)
    found = measure(prediction, record, images, asked)
    notes = [_bare(note, prediction) for note in prediction.notes] + told
    notes += [note for section in found.values() for note in section.get("notes", ())]
    content = _content(prediction, record, found, notes)
    doubt = _doubt(path, prediction, record)
    drawn = plates(prediction, images, found["diameters"], doubt)
    written = files.write_text(to / f"{path.stem}.html", page(replace(content, plates=drawn)))
    plain = {
        "format": FORMAT,
        "case": prediction.case,
        "date": content.date,
        "task": content.task,
        "used": list(prediction.used),
        "missing": list(prediction.missing),
        "pictures": bool(images),
        "findings": found,
        "lesions": [dict(one) for one in prediction.lesions],
        "notes": notes,
        "model": dict(content.model),
        "provenance": dict(content.provenance),
        "notice": STAMP,
    }
    files.write_json(to / f"{path.stem}.report.json", plain)
    return written, content


def _doubt(path: Path, prediction: Prediction, record: Mapping[str, Any]) -> Array | None:
    """The map of entropy that was written with the record, if it is there and fits."""
    name = f"{prediction.case}.entropy.nii.gz"
    if name not in record.get("files", ()) or not path.with_name(name).exists():
        return None
    volume = read_volume(path.with_name(name))
    fits = volume.grid.same_as(prediction.grid) and volume.array.dtype == np.uint8
    return volume.array if fits else None


def _images(prediction: Prediction) -> tuple[dict[str, Volume], list[str]]:
    """The images that are still where they were, and what has to be said of the others."""
    images, gone, told = {}, [], []
    for name, path in prediction.images.items():
        try:
            volume = read_volume(path)
        except (OncosegError, OSError):
            gone.append(name)
            continue
        if volume.grid.dims == prediction.grid.dims:
            images[name] = volume
        else:
            gone.append(name)
    if gone:
        told.append(
            f"Without pictures of {', '.join(gone)}: the image is no longer where it was when the "
            "prediction was made, or cannot be read; measurements do not depend on it."
        )
    if images and not any(prediction.grid.same_as(one.grid) for one in images.values()):
        told.append(
            "No image found lies on the grid of the prediction, so one of them may have been "
            "replaced: check that contours fit the pictures."
        )
    if prediction.grid.dims == 3 and tilt(prediction.grid) > OBLIQUE:
        told.append(
            f"The scan is tilted by {tilt(prediction.grid):.0f} degrees: slices are shown as "
            "acquired, so axial, coronal and sagittal are approximate."
        )
    return images, told


def _content(
    prediction: Prediction,
    record: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str],
) -> Content:
    flat = prediction.grid.dims == 2
    plane = found["diameters"]["plane"]
    headings = {
        "size": found["volumes"]["title"][:-1],
        "across": f"Longest diameter{TIMES}perpendicular<small>{plane}</small>",
        "space": "Largest 3-D diameter",
        "pieces": "Pieces",
        "confidence": "Predicted Dice<small>from held-out cases</small>"
        if prediction.predicted_dice
        else "Expected Dice<small>if calibrated</small>",
    }
    model = {name: _bare(str(text), prediction) for name, text in prediction.model.items()}
    provenance = {
        "Software": f"oncoseg {record.get('oncoseg', 'unknown')}",
        "Report": f"oncoseg {__version__}",
        **_inputs(prediction),
        "Label map": str(record["label"]),
        "Label SHA-256": str(record["label_sha256"]),
        "Grid": _grid(prediction),
    }
    return Content(
        case=prediction.case,
        date=_today(),
        task=prediction.task.name,
        model=model,
        flat=flat,
        regions=[_measured(prediction, name, found) for name in prediction.task.regions],
        plates=(),
        headings=headings,
        methods=[*(found[name]["method"] for name in FINDINGS), *_unsure(prediction)],
        used={
            name: prediction.images[name].name if name in prediction.images else ""
            for name in prediction.used
        },
        missing=prediction.missing,
        notes=notes,
        provenance=provenance,
        sections=[tabled(found[name]) for name in found if name not in FINDINGS],
    )


def _inputs(prediction: Prediction) -> dict[str, str]:
    """Each image by its name and what identifies it: UID of its series, checksum."""
    told = {}
    for name, path in prediction.images.items():
        said = prediction.inputs.get(name, {})
        told[f"Input {name}"] = path.name
        kinds = {"series": "series UID", "sha256": "SHA-256"}
        told |= {f"Input {name} {kinds[key]}": str(said[key]) for key in kinds if key in said}
    return told


def _measured(
    prediction: Prediction, region: str, found: Mapping[str, Mapping[str, Any]]
) -> Measured:
    values: dict[str, Any] = {
        row["name"]: row["value"]
        for section in found.values()
        for row in section["rows"]
        if row.get("region") == region
    }
    size = next(row for row in found["volumes"]["rows"] if row["region"] == region)
    length = next(row["unit"] for row in found["diameters"]["rows"])
    members = prediction.task.regions[region]
    empty = size["value"] == 0
    few, small = values["components"], values["smaller components"]
    return Measured(
        region=region,
        members="" if members == (region,) else " + ".join(members),
        colour=colours(prediction.task.regions)[region],
        size=short(size["value"]),
        unit=_unit(size),
        across="-"
        if empty
        else f"{values['longest diameter']:.1f}{TIMES}{values['perpendicular']:.1f} {length}",
        space="-" if empty else f"{values.get('3-D diameter', 0):.1f} {length}",
        pieces=f"{few}" + (f" (+ {small} smaller)" if small else ""),
        confidence=_confidence(prediction, region, values.get("expected Dice")),
        empty=empty,
    )


def _confidence(prediction: Prediction, region: str, expected: float | None) -> str:
    """The Dice that is predicted, `0.86 (0.71-0.93, 90%)`, else that which is expected."""
    found = prediction.predicted_dice.get(region)
    if found:
        ends = f"{found['low']:.2f}-{found['high']:.2f}, {found['level']:.0%}"
        return f"{found['value']:.2f} ({ends})"
    return "not known" if expected is None else f"{expected:.2f}"


def _unsure(prediction: Prediction) -> list[str]:
    """A sentence on the lesion that the model is least sure of."""
    if not prediction.lesions:
        return []
    least = min(prediction.lesions, key=lambda one: float(one["confidence"]))
    several = len(prediction.lesions) > 1
    which = f"Of {len(prediction.lesions)} pieces the model is least" if several else "The model is"
    return [f"{which} sure of {least['name']}: {least['confidence']:.0%} of it should be right."]


def _unit(row: Mapping[str, Any]) -> str:
    """A row's unit; after it, its interval, if there is one: `ml (10.1-14.9, 90 %)`."""
    if "low" not in row:
        return str(row["unit"])
    return f"{row['unit']} ({short(row['low'])}-{short(row['high'])}, {row['level']:.0%})"


def _grid(prediction: Prediction) -> str:
    shape = TIMES.join(map(str, prediction.grid.shape))
    steps = TIMES.join(f"{step:.3g}" for step in prediction.grid.spacing)
    return f"{shape} voxels of {steps} {unit(prediction.grid)}"


def _bare(text: str, prediction: Prediction) -> str:
    """Folders may carry patients' names: only the last part of a path stays."""
    for path in prediction.images.values():
        text = text.replace(str(path), path.name).replace(str(path.parent), path.parent.name)
    alone = PureWindowsPath(text) if "\\" in text else PurePosixPath(text)
    return alone.name if alone.is_absolute() else text


def _today() -> str:
    return dt.datetime.now().astimezone().strftime("%Y-%m-%d")


called(__name__)
