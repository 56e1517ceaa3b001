"""Report: one page a case with pictures, measurements and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, registry, results
from oncoseg.bar import bar
from oncoseg.blocks.document import STAMP, today
from oncoseg.blocks.planes import tilt
from oncoseg.case import Array, Case, Prediction, Volume
from oncoseg.errors import BadData, OncosegError, unknown
from oncoseg.extras import require
from oncoseg.read import read_volume
from oncoseg.report import cohort, pdf, private
from oncoseg.report.beside import beside
from oncoseg.report.cohort.sheet import SHEETS
from oncoseg.report.cohort.visits import read_visits
from oncoseg.report.content import EVERY, bare, content
from oncoseg.report.key_images import key_images, store
from oncoseg.report.page import page
from oncoseg.report.plates import plates
from oncoseg.report.records import Content, Plate
from oncoseg.report.sentences import said, words
from oncoseg.response import Earlier, compare
from oncoseg.verb import called
from oncoseg.write import Pseudonyms

FORMAT = "oncoseg-report-1"
KINDS = ("html", "pdf", "key-images", *SHEETS)
OBLIQUE = 10.0
ALONE = Earlier()  # compared with no other scan


def report(
    predictions: Path,
    *,
    to: Path | None = None,
    kinds: Sequence[str] = ("html",),
    cases: Sequence[str] = (),
    findings: Sequence[str] = (),
    language: str = "en",
    visits: Path | None = None,
    key: Path | None = None,
    earlier: Earlier = ALONE,
) -> list[Path]:
    """Write a report of every prediction, or of `cases` alone: `<case>.report.json` and `kinds`.

    `kinds` are any of `KINDS`: `<case>.html`, `<case>.pdf`, `<case>.key-image-01.dcm` and so on
    (`report.key_images`), and `cohort.parquet`. They go beside the predictions or into the folder
    `to`; with more than one case, `cohort.csv` has a row and `index.html` a line of each, also of
    one that failed. `visits` is a CSV file that says whose each case is, and of when
    (`report.cohort.visits`). `findings` (`name:option=value`) are measured further to those of
    every report, and sentences are in a `language` of `report/words/`. `key` is the file of a key:
    what names the patients is then replaced or taken out (`report.private`). `earlier` names the
    scans that each case is compared with, and how.
    Returns the files for people, the list last. Raises `BadData` if there is no prediction, and,
    after all others have been written, if a prediction could not be reported on.
    """
    predictions, to = Path(predictions), Path(to or predictions)
    found = _found(predictions, cases)
    asked = [*EVERY, *findings]
    _check(kinds, findings, language)
    earlier = earlier.checked(len(found))
    known = read_visits(visits, found) if visits else {}
    pseudonyms = private.pseudonyms(key, predictions, to)
    pages: dict[str, Path] = {}
    failed: dict[str, str] = {}
    written: list[Path] = []
    for name in bar(list(found), "report"):
        try:
            made = _one(found[name], to, kinds, asked, language, pseudonyms, earlier)
        except OncosegError as error:
            failed[name] = str(error)
            continue
        written += made
        pages[name] = made[0]
    count = len(pages) + len(failed)
    if count > 1:
        entries = cohort.gather(pages, failed, known, pseudonyms)
        written += cohort.write(to, entries, today(), kinds, dated=bool(known))
    if failed:
        raise BadData(f"{len(failed)} of {count} not reported: {'; '.join(failed.values())}")
    return written


def _found(predictions: Path, cases: Sequence[str]) -> dict[str, Path]:
    """Case -> record, of all or of those that are asked for."""
    found = results.find(predictions)
    if not found:
        message = f"{predictions}: there is no prediction in it; run 'oncoseg predict' first"
        raise BadData(message)
    for name in cases:
        if name not in found:
            raise unknown("prediction", name, found)
    return {name: found[name] for name in cases or found}


def _check(kinds: Sequence[str], findings: Sequence[str], language: str) -> None:
    """Raise now what would be raised after work: no such kind, finding or language, no package."""
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of report", kind, KINDS)
    if "pdf" in kinds:
        pdf.printer()
    if "key-images" in kinds:
        require("highdicom", "dicom")
    for text in findings:
        registry.parse("findings", text)
    words(language)


def measure(
    prediction: Prediction,
    record: Mapping[str, Any],
    images: Mapping[str, Volume],
    asked: Sequence[str] = EVERY,
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


def _one(
    path: Path,
    to: Path,
    kinds: Sequence[str],
    asked: Sequence[str],
    language: str,
    pseudonyms: Pseudonyms,
    earlier: Earlier,
) -> list[Path]:
    prediction, record = results.load(path)
    images, told = _images(prediction)
    found = measure(prediction, record, images, asked)
    changed: list[Plate] = []
    if earlier:
        compared = compare(prediction, images, earlier, record=path, named=not pseudonyms)
        changed = beside(prediction, images, compared)
        found |= compared.sections
    keys = None
    if "key-images" in kinds:
        keys, why = key_images(prediction, images, pseudonyms)
        told += why
    doubt = _doubt(path, prediction, record)
    prediction, record, found = private.veiled(
        path, prediction, record, found, pseudonyms, earlier.priors
    )
    notes = [bare(note, prediction) for note in prediction.notes] + told
    notes += [one for section in found.values() for one in section.get("warnings", ())]
    sentences = said(prediction.task.regions, found, prediction.missing, language)
    seen = content(prediction, record, found, sentences, notes)
    drawn = private.shown([*changed, *plates(prediction, images, doubt)], pseudonyms)
    text = page(replace(seen, plates=drawn))
    written, stem = [], prediction.case if pseudonyms else path.stem
    if "html" in kinds or "pdf" not in kinds:
        written.append(files.write_text(to / f"{stem}.html", text))
    if "pdf" in kinds:
        written.append(files.write_bytes(to / f"{stem}.pdf", pdf.printed(text)))
    written += store(keys, to, stem)
    plain = _plain(prediction, seen, found) | {"pictures": bool(images)}
    files.write_json(to / f"{stem}.report.json", plain | {"pseudonymised": bool(pseudonyms)})
    return written


def _plain(
    prediction: Prediction, seen: Content, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The report for programs: all that is on the page but its pictures, and every row."""
    return {
        "format": FORMAT,
        "case": prediction.case,
        "date": seen.date,
        "task": seen.task,
        "language": seen.said.language,
        "answer": seen.said.answer,
        "sentences": list(seen.said.sentences),
        "unassessed": list(seen.said.unassessed),
        "used": list(prediction.used),
        "missing": list(prediction.missing),
        "findings": found,
        "lesions": [dict(one) for one in prediction.lesions],
        "notes": list(seen.notes),
        "model": dict(seen.model),
        "provenance": dict(seen.provenance),
        "notice": STAMP,
    }


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
            volume = read_volume(path, prediction.channels.get(name))
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


called(__name__)
