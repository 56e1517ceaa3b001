"""What stands on a case's page: measurements, sentences and where they come from, in plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from oncoseg import __version__
from oncoseg.blocks.document import today
from oncoseg.blocks.modalities import spoken, together
from oncoseg.blocks.planes import unit
from oncoseg.case import Prediction
from oncoseg.report.pictures import colours
from oncoseg.report.records import Content, Region, Said, Section
from oncoseg.report.sentences import FINDINGS, TIMES
from oncoseg.report.tables import measured, tabled, tables

EVERY = (*FINDINGS, "checks")  # findings of every report
# Of those that the answer rests on, the rows that stand on the page; all are in the JSON.
COLUMNS = (
    *("volume", "area", "longest diameter", "perpendicular", "3-D diameter"),
    *("components", "smaller components", "expected Dice", "predicted Dice"),
)


def content(
    prediction: Prediction,
    record: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any]],
    said: Said,
    notes: Sequence[str],
) -> Content:
    """Everything but the pictures; `found` are the findings by their names."""
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
        date=today(),
        task=prediction.task.name,
        model={name: bare(str(text), prediction) for name, text in prediction.model.items()},
        said=said,
        regions=[_region(prediction, name, found) for name in prediction.task.regions],
        plates=(),
        used=_used(prediction),
        missing=prediction.missing,
        notes=notes,
        provenance=provenance,
        sections=[
            _measurements(prediction, found),
            *(one for name in found if name not in FINDINGS for one in tables(found[name])),
        ],
    )


def _used(prediction: Prediction) -> dict[str, str]:
    """Modality -> the name of its file, where that is known."""
    used, images = prediction.used, prediction.images
    groups = [[used[place] for place in places] for places in together(used)]
    names = [[images[name].name for name in group if name in images] for group in groups]
    return dict(zip(spoken(used), (", ".join(dict.fromkeys(each)) for each in names)))


def bare(text: str, prediction: Prediction) -> str:
    """Folders may carry patients' names: only the last part of a path stays."""
    for path in prediction.images.values():
        text = text.replace(str(path), path.name)
        text = text.replace(str(path.parent), path.parent.name) if path.parent.name else text
    alone = PureWindowsPath(text) if "\\" in text else PurePosixPath(text)
    return alone.name if alone.is_absolute() else text


def _measurements(prediction: Prediction, found: Mapping[str, Mapping[str, Any]]) -> Section:
    """The table of every report: a line a region; of an empty one only that it is."""
    empty = {row["region"] for row in found["volumes"]["rows"] if row["value"] == 0}
    rows = [
        row
        for name in FINDINGS
        for row in found[name]["rows"]
        if row["name"] in COLUMNS and (row["value"] or row["region"] not in empty)
    ]
    rows += [row for row in found["volumes"]["rows"] if row["region"] in empty]
    order = list(prediction.task.regions)
    rows.sort(key=lambda row: (COLUMNS.index(row["name"]), order.index(row["region"])))
    methods = [*(found[name]["method"] for name in FINDINGS), *_unsure(prediction)]
    return tabled("Measurements", rows, methods)


def _region(prediction: Prediction, region: str, found: Mapping[str, Mapping[str, Any]]) -> Region:
    rows = {
        row["name"]: row
        for name in ("volumes", "diameters")
        for row in found[name]["rows"]
        if row["region"] == region
    }
    size = rows["volume"] if "volume" in rows else rows["area"]
    members = prediction.task.regions[region]
    number, _, rest = measured(size).partition(" ")
    across = f"{measured(rows['longest diameter'] | {'unit': ''})}{TIMES}"
    return Region(
        name=region,
        members="" if members == (region,) else " + ".join(members),
        colour=colours(prediction.task.regions)[region],
        size=number,
        unit=rest,
        across=across + measured(rows["perpendicular"]) if size["value"] else "not found",
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


def _unsure(prediction: Prediction) -> list[str]:
    """A sentence on the lesion that the model is least sure of."""
    if not prediction.lesions:
        return []
    least = min(prediction.lesions, key=lambda one: float(one["confidence"]))
    several = len(prediction.lesions) > 1
    which = f"Of {len(prediction.lesions)} pieces the model is least" if several else "The model is"
    return [f"{which} sure of {least['name']}: {least['confidence']:.0%} of it should be right."]


def _grid(prediction: Prediction) -> str:
    shape = TIMES.join(map(str, prediction.grid.shape))
    steps = TIMES.join(f"{step:.3g}" for step in prediction.grid.spacing)
    return f"{shape} voxels of {steps} {unit(prediction.grid)}"
