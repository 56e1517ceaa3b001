"""Predictions on disk: a label map beside a JSON record of how it came about."""

from __future__ import annotations

import glob
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from oncoseg import __version__, files, memory
from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.case import Array, Prediction, Task
from oncoseg.errors import BadData, BadFile, BadRun, OncosegError, UnknownName
from oncoseg.read import read_volume
from oncoseg.write import Pseudonyms, identify, made_of, write_prediction, write_volume

FORMAT = "oncoseg-prediction-1"
MAPS = ("probability.*", "entropy", "margin", "spread.*")  # names of maps that are written
NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment."


@dataclass(frozen=True)
class Delivered:
    """Files written, and a sentence for every case that could not be."""

    done: list[Path]
    failed: dict[str, str]


def save(
    prediction: Prediction,
    folder: Path,
    *,
    probabilities: bool = False,
    kinds: Sequence[str] = (),
    asked: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write `<case>.nii.gz` (labels on the case's own grid), then `<case>.json`.

    Returns the path of the record. The record comes last, so a case with a record is a case whose
    files are whole. With `probabilities`, each region's probability is written beside them as
    `<case>.probability.<region>.nii.gz` in steps of 1/255, as are maps of how sure they are, such
    as `<case>.entropy.nii.gz`, if the prediction holds them; `kinds` are further ones of
    `oncoseg.write.KINDS`. `asked` is what was asked for, which the record tells. Whatever ends the
    writing early, a signal too, nothing of the case is left.
    """
    began = time.perf_counter()
    record = folder / f"{files.plain_name(prediction.case)}.json"
    with ExitStack() as undo:
        undo.callback(_clear, record)
        _clear(record)  # what was written of an earlier prediction no longer holds
        prediction = prediction.but(inputs=prediction.inputs or identify(prediction.images))
        written = [
            write_volume(folder / name, array, prediction.grid)
            for name, array in _maps(prediction, probabilities=probabilities)
        ]
        written += write_prediction(prediction, folder, kinds)
        content = {"asked": dict(asked), "files": [_below(path, folder) for path in written]}
        files.write_json(record, _record(prediction, written[0], began) | content)
        undo.pop_all()
    return record


def _clear(record: Path) -> None:
    """Remove a record, then what it vouches for."""
    folder, case = record.parent, record.stem
    stem = glob.escape(case)
    maps = [path for kind in MAPS for path in folder.glob(f"{stem}.{kind}.nii.gz")]
    names = (record.name, f"{case}.nii.gz", *made_of(case))
    for path in (*(folder / name for name in names), *maps):
        path.unlink(missing_ok=True)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def deliver(
    folder: Path, kinds: Sequence[str], *, to: Path | None = None, key: Path | None = None
) -> Delivered:
    """Write every prediction in `folder` as `kinds`, beside it or to another folder.

    `key` is the file of a key: names, dates and UIDs of the patient are then replaced (see
    `oncoseg.write.pseudonyms`), for which `to` must be another folder, since records name files.
    A case that cannot be written leaves nothing and is reported; the rest finish.
    """
    found = find(folder)
    if not found:
        message = f"{folder}: there is no prediction in it; run 'oncoseg predict' first"
        raise BadData(message)
    to = Path(to or folder)
    if key and to.resolve() == Path(folder).resolve():
        remedy = "write to another folder with --to, since the records here name cases and files"
        raise BadRun(f"{folder}: holds the predictions themselves; {remedy}")
    pseudonyms = Pseudonyms.of(key) if key else Pseudonyms()
    done: list[Path] = []
    failed: dict[str, str] = {}
    for case, path in found.items():
        try:
            done += write_prediction(load(path)[0], to, kinds, pseudonyms=pseudonyms)
        except UnknownName:
            raise
        except OncosegError as error:
            failed[case] = str(error)
    return Delivered(done, failed)


def _maps(prediction: Prediction, *, probabilities: bool) -> Iterator[tuple[str, Array]]:
    """File name and array (*S) uint8, the label map first; each is made when it is its turn."""
    yield f"{prediction.case}.nii.gz", prediction.label
    maps = dict(prediction.maps)
    if probabilities:
        named = zip(prediction.task.regions, prediction.probability)
        maps |= {f"probability.{name}": values for name, values in named}
    for name, values in maps.items():
        if any(fnmatchcase(name, kind) for kind in MAPS):
            yield f"{prediction.case}.{name}.nii.gz", _bytes(values)


def _bytes(values: Array) -> Array:
    """Values from 0 to 1 in steps of 1/255, uint8; such are as they are."""
    if values.dtype == np.uint8:
        return values
    scaled = np.empty(values.shape, dtype=np.uint8)
    for row, one in zip(scaled, values):
        row[...] = np.round(np.clip(one, 0, 1).astype(np.float32) * 255)
    return scaled


def _record(prediction: Prediction, label: Path, began: float) -> dict[str, Any]:
    stages = {**prediction.seconds, "write": time.perf_counter() - began}
    return {
        "format": FORMAT,
        "oncoseg": __version__,
        "case": prediction.case,
        "label": label.name,
        "label_sha256": files.sha256(label),
        "used": list(prediction.used),
        "missing": list(prediction.missing),
        "images": {name: str(path) for name, path in prediction.images.items()},
        "channels": dict(prediction.channels),
        "inputs": {name: dict(said) for name, said in prediction.inputs.items()},
        "model": dict(prediction.model),
        "confidence": expected_dice(prediction),
        "predicted_dice": {name: dict(one) for name, one in prediction.predicted_dice.items()},
        "ratios": {name: dict(one) for name, one in prediction.ratios.items()},
        "lesions": [dict(one) for one in prediction.lesions],
        "unlikeness": dict(prediction.unlikeness),
        "samples": prediction.samples,
        "intervals": {name: list(ends) for name, ends in prediction.intervals.items()},
        "level": prediction.level,
        "notes": list(prediction.notes),
        "task": prediction.task.as_dict(),
        "seconds": round(sum(stages.values()), 3),
        "stages": {name: round(took, 3) for name, took in stages.items()},
        "peak_mb": math.ceil(memory.peak() / 1e6),
        "notice": NOTICE,
    }


def find(folder: Path) -> dict[str, Path]:
    """Case name -> record, for every prediction in a folder.

    Other JSON files are passed over, and hidden ones: what a killed process left half-written. One
    that is no JSON is taken for the record of the case it is named after, so that `load` says what
    is wrong with it, and it is not lost. Raises `BadData` if two records are of one case.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            record = files.read_json(path)
        except BadFile:
            record = {"format": FORMAT, "case": path.stem}
            if path.stem.endswith(".report"):
                continue
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            continue
        case = str(record.get("case") or path.stem)
        if case in found:
            both = f"{found[case].name} and {path.name} are both records of case {case}"
            raise BadData(f"{folder}: {both}; remove the one that is not meant")
        found[case] = path
    return found


def load(path: Path) -> tuple[Prediction, dict[str, Any]]:
    """Read a record and its label map.

    Raises `BadFile` if the record is not whole, or the label map not the one that was written.

    The prediction's `probability` has no regions, since probabilities need not have been kept: what
    was computed from them is in the record, which comes second.
    """
    record = files.read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadFile(path, f"is no {FORMAT} record", "give the .json written by 'oncoseg predict'")
    try:
        return _loaded(path, record), record
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cause = f"is not a whole record ({type(error).__name__}: {error})"
        raise BadFile(path, cause, "run 'oncoseg predict' again for this case") from error


def _plain(name: str) -> str:
    """A name of a record, or `ValueError` if it names no file beside it."""
    try:
        return files.plain_name(name)
    except BadData as error:
        raise ValueError(f"{name!r} cannot name a file here") from error


def _loaded(path: Path, record: dict[str, Any]) -> Prediction:
    label = path.with_name(_plain(record["label"]))
    if not label.exists():
        raise BadData(
            f"{path}: its label map {label.name} is missing; "
            "run 'oncoseg predict' again for this case"
        )
    if files.sha256(label) != record["label_sha256"]:
        raise BadFile(
            label, "is not what was predicted (its checksum differs)", "run 'oncoseg predict' again"
        )
    volume = read_volume(label)
    return Prediction(
        case=_plain(record["case"]),
        task=Task.from_dict(record["task"]),
        grid=volume.grid,
        label=volume.array.astype(np.uint8),
        probability=np.zeros((0, *volume.array.shape), dtype=np.float16),
        used=tuple(record["used"]),
        missing=tuple(record["missing"]),
        images={name: Path(where) for name, where in record["images"].items()},
        channels={name: int(place) for name, place in record.get("channels", {}).items()},
        model=record["model"],
        notes=tuple(record["notes"]),
        intervals={name: (low, high) for name, (low, high) in record.get("intervals", {}).items()},
        level=float(record.get("level", 0.0)),
        predicted_dice=_bounded(record.get("predicted_dice", {})),
        ratios=_bounded(record.get("ratios", {})),
        lesions=tuple(dict(one) for one in record.get("lesions", ())),
        unlikeness=dict(record.get("unlikeness", {})),
        samples=int(record.get("samples", 0)),
        inputs={name: dict(said) for name, said in record.get("inputs", {}).items()},
    )


def _bounded(told: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    keys = ("value", "low", "high", "level")
    return {name: {key: float(one[key]) for key in keys} for name, one in told.items()}
