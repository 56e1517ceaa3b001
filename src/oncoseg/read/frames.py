"""Frames: the planes of single-frame and enhanced (multi-frame) DICOM images, alike.

An enhanced image keeps what is said of a plane in functional groups, some shared by all planes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.blocks.instances import AGAIN, B_VALUES, PHASES, Instance, shown, understood
from oncoseg.errors import BadFile


@dataclass(frozen=True)
class Frame:
    """One plane. Places are in LPS mm; NaN where a slope or thickness is not stated.

    `spacing` is between rows, then between columns; `said` holds what may tell volumes apart.
    """

    instance: Instance
    index: int
    place: tuple[float, ...]
    turn: tuple[float, ...]
    spacing: tuple[float, ...]
    thickness: float
    between: float
    slope: float
    intercept: float
    kind: str
    said: Mapping[str, str]


def frames_of(one: Instance) -> list[Frame]:
    """The planes of a file; raises `BadFile` if one has no place, or no grey values."""
    with understood(one.path):
        head = one.head
        if str(head.get("PhotometricInterpretation", "")) != "MONOCHROME2":
            kind = shown(head.get("PhotometricInterpretation", "unstated"))
            cause = f"has pixels of the kind {kind}"
            raise BadFile(one.path, cause, "export it in grey (MONOCHROME2)")
        return [_frame(one, index, words) for index, words in enumerate(_words(one))]


def _words(one: Instance) -> Iterator[Mapping[str, Any]]:
    """What is said of each plane, by keyword: shared groups, then its own, over the header."""
    head = one.head
    count = int(head.get("NumberOfFrames") or 1)
    own = head.get("PerFrameFunctionalGroupsSequence")
    if own is None:
        if count > 1:
            cause = f"holds {count} frames without their places (no functional groups)"
            raise BadFile(one.path, cause, "convert it to single frames, or export it as enhanced")
        yield one.values(_SINGLE) | {"b-value": _b_value(head)}
        return
    if len(own) != count:
        raise BadFile(one.path, f"says it has {count} frames, but describes {len(own)}", AGAIN)
    top = {name: head.get(name) for name in ("ImageType", "AcquisitionNumber", "Modality")}
    shared: dict[str, Any] = {}
    for group in head.get("SharedFunctionalGroupsSequence") or ():
        shared.update(flat(group))
    for group in own:
        yield {**top, **shared, **flat(group)}


_SINGLE = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("ModalityLUTSequence", "Modality"),
    *(name for name in PHASES if name != "b-value"),
)
# What a plane was made from, and by what units: these repeat keywords that mean something else.
_ASIDE = {"DerivationImageSequence", "ReferencedImageSequence", "RealWorldValueMappingSequence"}


def flat(group: Any, depth: int = 0) -> dict[str, Any]:
    """A functional group with all that is nested in it, as keyword -> value."""
    found: dict[str, Any] = {}
    for element in group:
        if element.VR == "SQ" and element.keyword not in _ASIDE and depth < 4:
            for item in element.value:
                found.update(flat(item, depth + 1))
        elif element.VR != "SQ" and element.keyword:
            found[element.keyword] = element.value
    return found


def _b_value(head: Any) -> Any:
    """As Siemens and GE keep it, where it has no place in the standard's header."""
    return next((head[tag].value for tag in B_VALUES if tag in head), None)


def _frame(one: Instance, index: int, words: Mapping[str, Any]) -> Frame:
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not words.get(name):
            raise BadFile(one.path, f"has no {name}, so its place is unknown", AGAIN)
    if words.get("ModalityLUTSequence"):
        cause = "maps its values by a table (ModalityLUT)"
        raise BadFile(one.path, cause, "export it with a slope")
    place, turn = numbers(words["ImagePositionPatient"]), numbers(words["ImageOrientationPatient"])
    spacing = numbers(words["PixelSpacing"])
    lengths = (len(place), len(turn), len(spacing))
    finite = np.isfinite([*place, *turn, *spacing]).all()
    if lengths != (3, 6, 2) or not finite or not min(spacing) > 0:
        raise BadFile(one.path, "has a place or a spacing that makes no sense", AGAIN)
    return Frame(
        *(one, index, place, turn, spacing),
        thickness=number(words.get("SliceThickness")),
        between=number(words.get("SpacingBetweenSlices")),
        slope=number(words.get("RescaleSlope")),
        intercept=number(words.get("RescaleIntercept"), 0.0),
        kind=shown(words.get("RescaleType") or "").upper(),
        said={name: _said(words[name]) for name in PHASES if words.get(name) not in (None, "")},
    )


def _said(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip("\0 ")
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return shown("/".join(map(str, value)) if listed else value)


def numbers(values: Any) -> tuple[float, ...]:
    """A multi-valued element as floats."""
    return tuple(float(value) for value in values)


def number(value: Any, default: float = float("nan")) -> float:
    """An element as a finite float, or `default` where it is empty."""
    if value in (None, ""):
        return default
    if not np.isfinite(float(value)):
        raise ValueError(f"a number is {value}")
    return float(value)
