"""What changed since the visit before, in rows of a report: of each region and of each lesion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from oncoseg.blocks.sizes import boundary_ml, sizes
from oncoseg.case import Prediction
from oncoseg.response.match import (
    GONE,
    MERGED,
    SHOWN,
    SMALL,
    UNSEEN,
    Lesion,
    State,
    Track,
)

BEFORE, NOW = "before", "now"
METHOD = (
    "Scans are aligned rigidly and lesions, pieces from 50 mm³, are one if a third of the smaller "
    "one's voxels lies in the other; letters name one lesion over all scans. Each is measured on "
    "its own scan. ± of a volume is half the volume of its boundary voxels (an edge known to half "
    "a voxel); of a diameter, what voxels leave open; of a change sqrt(a² + b²). A change within "
    "± is called stable."
)
CAME = ("new", "back, resolved before")
KINDS = {
    GONE: "resolved",
    SMALL: "shrinking, too small to measure",
    UNSEEN: "not covered by this scan",
}


def region_rows(
    now: Prediction, before: Prediction, tracks: Sequence[Track]
) -> Iterator[dict[str, Any]]:
    """Volume of each region before and now, what became of it, and lesions that came or went."""
    masks = [(one.masks, one.grid) for one in (before, now)]
    volumes = [sizes(*one) for one in masks]
    for region in now.task.regions:
        then, here = (one[region] for one in volumes)
        errors = [boundary_ml(marked[region], grid) for marked, grid in masks]
        yield _row("region", region, "course", _compared(then, here, math.hypot(*errors)))
        yield from _change("region", region, then, here, math.hypot(*errors))
        inside = [one for one in tracks if one.region == region]
        came = sum(one.states[-1].kind == SHOWN and _begun(one) in CAME for one in inside)
        went = sum(one.states[-1].kind == GONE and _ends(one) for one in inside)
        yield _row("region", region, "new lesions", came)
        yield _row("region", region, "resolved lesions", went)


def lesion_rows(tracks: Sequence[Track], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Of each lesion its track, its course, and its sizes at the visits `names`, the last one now.

    A lesion that is not in this scan stands there by the name of its track.
    """
    for track in tracks:
        before, last = track.states[-2:]
        if last.kind == SHOWN:
            yield from _shown(track, tracks, names)
        elif _ends(track):
            yield _row("lesion", track.id, "lesion over time", track.id)
            yield _row("lesion", track.id, "course", _ended(last))
            if before.kind == SHOWN:
                yield _row("lesion", track.id, BEFORE, before.volume, "ml")


def _ends(track: Track) -> bool:
    """Whether what is not in this scan has to be told, as what was gone before has not."""
    before, last = track.states[-2:]
    return before.kind == SHOWN or last.kind not in (before.kind, GONE)


def _shown(track: Track, tracks: Sequence[Track], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A track of this scan: all stands with its largest lesion, the others name it."""
    before, last = track.states[-2:]
    first, *others = sorted(last.lesions, key=lambda one: -one.size.volume)
    yield _row("lesion", first.name, "lesion over time", track.id)
    yield _row("lesion", first.name, "course", course(track, tracks))
    for name, state in zip(names[:-2], track.states):
        if state.kind == SHOWN:
            yield _row("lesion", first.name, name, state.volume, "ml")
    if before.kind == SHOWN and not _cut(before, last):
        then = together_before(track, tracks)
        error = math.hypot(sum(one.error for one in then), last.error)
        volume = sum(one.volume for one in then)
        yield from _change("lesion", first.name, volume, last.volume, error)
    else:
        yield _row("lesion", first.name, NOW, last.volume, "ml")
    if len(before.lesions) == 1 and not others and not _cut(before, last):
        yield from _diameters(first, before.lesions[0])
    for one in others:
        yield _row("lesion", one.name, "lesion over time", track.id)
        yield _row("lesion", one.name, "course", f"part of {track.id}, with {first.name}")


def course(track: Track, tracks: Sequence[Track]) -> str:
    """What a lesion of the last visit has done since the one before, in words."""
    before, last = track.states[-2:]
    if before.kind != SHOWN:
        return _begun(track)
    if _cut(before, last):
        return "change not assessed: cut by the edge of a scan"
    then = together_before(track, tracks)
    error = math.hypot(sum(one.error for one in then), last.error)
    words = [_compared(sum(one.volume for one in then), last.volume, error)]
    merged = [one.id for one in tracks if _merged_now(one, track)]
    if merged:
        words.insert(0, f"merged with {', '.join(merged)}")
    if len(last.lesions) > len(before.lesions):
        words.insert(0, f"split into {len(last.lesions)}")
    return ", ".join(words)


def together_before(track: Track, tracks: Sequence[Track]) -> list[State]:
    """What it was at the visit before, with all that has merged into it since."""
    merged = [one.states[-2] for one in tracks if _merged_now(one, track)]
    return [track.states[-2], *merged]


def _merged_now(one: Track, into: Track) -> bool:
    return one.states[-1].into == into.id and one.states[-2].kind == SHOWN


def _begun(track: Track) -> str:
    """A lesion that the visit before did not show; "" if it did."""
    kind = track.states[-2].kind
    if kind == SHOWN:
        return ""
    if kind == SMALL:
        return "growing, too small to measure before"
    earlier = any(one.kind == SHOWN for one in track.states[:-2])
    if kind == UNSEEN:
        return "not covered by the scan before" + (", but seen earlier" if earlier else "")
    return "back, resolved before" if earlier else "new"


def _ended(last: State) -> str:
    return f"merged into {last.into}" if last.kind == MERGED else KINDS[last.kind]


def _cut(*states: State) -> bool:
    return any(one.cut for state in states for one in state.lesions)


def _compared(then: float, here: float, error: float) -> str:
    if then == here == 0:
        return "none in either scan"
    if then == 0 or here == 0:
        return "new" if then == 0 else "resolved"
    if abs(here - then) <= error:
        return "stable (within measurement error)"
    return "growing" if here > then else "shrinking"


def _change(
    kind: str, whose: str, then: float, here: float, error: float
) -> Iterator[dict[str, Any]]:
    yield _row(kind, whose, BEFORE, then, "ml")
    yield _row(kind, whose, NOW, here, "ml")
    yield _row(kind, whose, "change", here - then, "ml")
    yield _row(kind, whose, "± of change", error, "ml")
    if then > 0:
        yield _row(kind, whose, "relative change", 100 * (here - then) / then, "%")


def _diameters(now: Lesion, before: Lesion) -> Iterator[dict[str, Any]]:
    """Longest diameter in the slices of each scan."""
    error = math.hypot(now.size.error, before.size.error)
    yield _row("lesion", now.name, f"diameter {BEFORE}", before.size.long, "mm")
    yield _row("lesion", now.name, f"diameter {NOW}", now.size.long, "mm")
    yield _row("lesion", now.name, "± of its change", error, "mm")


def _row(kind: str, whose: str, name: str, value: float | str, unit: str = "") -> dict[str, Any]:
    return {kind: whose, "name": name, "value": value, "unit": unit}


def plain(track: Track, tracks: Sequence[Track]) -> dict[str, Any]:
    """A track as plain data, a state a visit, the first visit first."""
    last = track.states[-1]
    ended = last.kind != SHOWN
    return {
        "id": track.id,
        "region": track.region,
        "course": _ended(last) if ended else course(track, tracks),
        "states": [
            {
                "state": state.kind,
                "lesions": [one.name for one in state.lesions],
                **({"merged into": state.into} if state.into else {}),
                **({"volume_ml": state.volume, "error_ml": state.error} if state.lesions else {}),
                **(
                    {"long_mm": max(one.size.long for one in state.lesions)}
                    if state.lesions
                    else {}
                ),
                **({"cut": True} if _cut(state) else {}),
            }
            for state in track.states
        ],
    }
