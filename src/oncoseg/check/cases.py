"""One case, read as every verb reads it: what fails, and what looks wrong though it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from oncoseg.blocks.image_quality import odd_unit
from oncoseg.case import Array, Case, Source, Volume
from oncoseg.check.labels import odd_label
from oncoseg.check.records import Image, Problem, Seen, failed
from oncoseg.errors import OncosegError
from oncoseg.read import digest, read_case

SAMPLE = 100_000


def look(source: Source, scheme: Mapping[str, int] | None, smallest: int) -> Seen:
    """Read all of one case; nothing of its voxels is kept."""
    failures: list[OncosegError] = []
    try:
        case = read_case(source, labels=scheme, failures=failures)
    except OncosegError as error:
        failures.append(error)
        case = Case(source.case, source.patient, {}, {}, (), source.site)
    problems = [failed(error, "file", source.case) for error in failures]
    named = {**case.images, **{f"label of {name}": one for name, one in case.labels.items()}}
    for name, volume in named.items():
        remedy = "look whether it lies right in a viewer, and export it again if not"
        problems += [
            Problem("note", "read", source.case, str(volume.path), f"{name}: {note}", remedy)
            for note in volume.notes
        ]
    images = tuple(_image(name, volume) for name, volume in case.images.items())
    values: Counter[int] = Counter()
    volumes: dict[int, float] = {}
    for name, label in case.labels.items():
        found = _values(label.array)
        values.update(found)
        for value, count in found.items():
            size = count * label.grid.voxel_volume
            volumes[value] = max(size, volumes.get(value, 0.0))
        problems += odd_label(source.case, label, name, case.images.get(name), smallest)
    problems += [problem for image in images for problem in _odd_image(source.case, image)]
    once = tuple(dict.fromkeys(problems))
    return Seen(source.case, source.patient, source.site, images, dict(values), once, volumes)


def _image(name: str, volume: Volume) -> Image:
    array = volume.array
    sample = array.ravel("K")[:: array.size // SAMPLE + 1]
    extent = float(array.min()), float(array.max())
    bright = float(np.percentile(np.abs(sample), 99))
    spacing = tuple(round(length, 4) for length in volume.grid.spacing)
    return Image(name, str(volume.path), array.shape, spacing, extent, bright, digest(volume))


def _values(label: Array) -> dict[int, int]:
    values, counts = np.unique(label[label > 0], return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts)}


def _odd_image(case: str, image: Image) -> list[Problem]:
    cause = odd_unit(image.name, *image.range)
    if not cause:
        return []
    remedy = "convert it with its RescaleSlope and RescaleIntercept, or read the DICOM series"
    return [Problem("warning", "intensity", case, image.path, cause, remedy)]
