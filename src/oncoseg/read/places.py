"""Where the planes of a series lie: ordered along the normal, evenly, on one straight line.

Never by file name or InstanceNumber. A missing slice, or two volumes in one series, would make an
array that looks right and measures wrong. A tilted gantry makes a sheared grid, read as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncoseg.blocks.instances import PHASES
from oncoseg.case import Array
from oncoseg.errors import BadFile
from oncoseg.read.frames import Frame

TILT_DEGREES = 0.1
EXPORT = "export the series again, complete and by itself"
APART = "export each volume as a series of its own"
# What no one volume mixes, even where its planes do not coincide.
ALIKE = (
    *("EchoNumbers", "EffectiveEchoTime", "InversionTime", "DiffusionBValue", "b-value"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "ImageType", "FrameType", "StackID"),
    *("ConvolutionKernel", "KVP"),
)


def ordered(folder: Path, frames: Sequence[Frame]) -> tuple[list[Frame], Array, list[str]]:
    """Frames from foot to head along the normal, the affine (4, 4) to LPS mm, and notes."""
    along, down, normal = _axes(folder, frames)
    places = np.array([frame.place for frame in frames])
    order = np.argsort(places @ normal, kind="stable")
    places, ranked = places[order], [frames[index] for index in order]
    notes: list[str] = []
    if len(ranked) == 1:
        step = normal * np.nan_to_num(ranked[0].thickness)
        if not step @ step > 0:
            raise BadFile(folder, "is one slice without SliceThickness", EXPORT)
    else:
        _check_steps(folder, np.diff(places @ normal), ranked)
        step = (places[-1] - places[0]) / (len(ranked) - 1)
        notes = _check_line(folder, places, step, normal)
        notes += _sparse(ranked[0].between, float(step @ normal))
    _check_alike(folder, ranked)
    rows, columns = ranked[0].spacing
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along * columns, down * rows, step], axis=1)
    affine[:3, 3] = places[0]
    return ranked, affine, notes


def _axes(folder: Path, frames: Sequence[Frame]) -> tuple[Array, Array, Array]:
    turns = np.array([frame.turn for frame in frames])
    spacings = np.array([frame.spacing for frame in frames])
    for values, close, name in ((turns, 4e-4, "orientations"), (spacings, 2e-4, "spacings")):
        if (np.ptp(values, axis=0) > close).any():
            count = len(np.unique(np.round(values, 3), axis=0))
            cause = f"holds more than one stack of slices ({count} {name})"
            raise BadFile(folder, cause, "export each stack as a series of its own")
    along, down = turns[0, :3], turns[0, 3:]
    lengths = np.array([np.linalg.norm(along), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > 1e-3 or abs(along @ down) > 1e-3:
        raise BadFile(folder, "has an orientation that is not at right angles", EXPORT)
    return along, down, np.cross(along, down)


def _check_steps(folder: Path, steps: Array, ranked: Sequence[Frame]) -> None:
    apart = steps[steps > 1e-3]
    middle = float(np.median(apart)) if len(apart) else 0.0
    same = steps < max(1e-3, 0.02 * middle)
    if same.any():
        raise _repeated(folder, ranked, np.concatenate([[0], np.cumsum(~same)]))
    uneven = np.abs(steps - middle) > max(0.05, 0.02 * middle)
    if not uneven.any():
        return
    ratio = steps[uneven] / middle
    if (np.abs(ratio - np.rint(ratio)) < 0.05).all() and (ratio > 1.5).all():
        count = int((np.rint(ratio) - 1).sum())
        raise BadFile(folder, f"lacks {count} of its slices ({middle:.4g} mm apart)", EXPORT)
    cause = f"has uneven slices, from {steps.min():.4g} to {steps.max():.4g} mm apart"
    raise BadFile(folder, cause, "export a series with even slices")


def _repeated(folder: Path, ranked: Sequence[Frame], places: Array) -> BadFile:
    """Two planes at one place: volumes of two phases, told by what differs; else duplicates."""
    copies = Counter(places.tolist())
    shared = [frame for frame, place in zip(ranked, places) if copies[int(place)] > 1]
    where = [int(place) for place in places if copies[int(place)] > 1]
    telling = [name for name in PHASES if _tells_apart(name, shared, where)]
    number = set(copies.values())
    if len(number) == 1 and telling:
        cause = f"holds {number.pop()} volumes at the same places"
    else:
        cause = f"has {len(ranked) - len(copies)} slices at the place of another"
    if not telling:
        return BadFile(folder, f"{cause} (duplicates)", EXPORT)
    return BadFile(folder, f"{cause}, which differ in {_listed(shared, telling)}", APART)


def _tells_apart(name: str, shared: Sequence[Frame], where: Sequence[int]) -> bool:
    """Whether no two planes at one place have the same value."""
    pairs = [(place, frame.said.get(name, "")) for frame, place in zip(shared, where)]
    return len(set(pairs)) == len(pairs)


def _listed(frames: Sequence[Frame], names: Sequence[str]) -> str:
    words = []
    for name in names[:3]:
        values = sorted({frame.said.get(name, "none") for frame in frames}, key=_natural)
        more = f", ... {len(values)} values" if len(values) > 4 else ""
        words.append(f"{name} ({', '.join(values[:4])}{more})")
    return " and ".join(words)


def _natural(text: str) -> tuple[bool, float, str]:
    return (False, float(text), text) if text.replace(".", "", 1).isdigit() else (True, 0.0, text)


def _check_alike(folder: Path, frames: Sequence[Frame]) -> None:
    mixed = [name for name in ALIKE if len({frame.said.get(name) for frame in frames}) > 1]
    if mixed:
        cause = f"mixes slices which differ in {_listed(frames, mixed)}"
        raise BadFile(folder, cause, APART)


def _check_line(folder: Path, places: Array, step: Array, normal: Array) -> list[str]:
    """All slices lie on one line; a note where that does not run along the normal."""
    straight = places[0] + np.arange(len(places))[:, None] * step
    apart = float(np.abs(places - straight).max())
    if apart > max(0.1, 0.05 * float(np.linalg.norm(step))):
        raise BadFile(folder, f"has slices up to {apart:.3g} mm off their line", EXPORT)
    cosine = float(step @ normal) / float(np.linalg.norm(step))
    sideways = np.linalg.norm(step - normal * (step @ normal)) * (len(places) - 1)
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if angle > 60:
        raise BadFile(folder, f"has slices that lie {angle:.0f} degrees beside one another", EXPORT)
    if angle > TILT_DEGREES and sideways > 0.05:
        return [f"was scanned with a tilt of {angle:.2f} degrees; each slice is where it was"]
    return []


def _sparse(stated: float, step: float) -> list[str]:
    """A series with every second slice removed is even: only its header can tell."""
    if stated > 0 and step > 1.5 * stated:
        said = f"its slices lie {step:.4g} mm apart, though SpacingBetweenSlices is {stated:.4g} mm"
        return [f"{said}: it may not be complete"]
    return []
