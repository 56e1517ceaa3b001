"""The category of a course by RECIST or RANO: lesions over time handed to the rule, in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg import registry
from oncoseg.blocks.region_names import enhancing, not_enhancing, outermost, tumours
from oncoseg.blocks.target_lesions import GONE as NOTHING
from oncoseg.blocks.target_lesions import Measured, measured, together
from oncoseg.case import Prediction
from oncoseg.errors import BadOption, unknown
from oncoseg.response import rano, recist
from oncoseg.response.course import TOLD, Response, Visit
from oncoseg.response.match import GONE, MERGED, SHOWN, SMALL, State, Track

ASKED = {
    "recist": ("nontarget", "confirmed"),
    "rano": ("nontarget", "clinical", "steroids", "confirmed"),
}
FIRST = "The earliest scan given is taken as the rule's baseline; whether it is was not assessed."

ELSEWHERE = (
    "RECIST 1.1 calls a lesion new, and so the disease progressive, also where the first scan did "
    "not look: for a reader to decide."
)


def checked(rule: str, told: Mapping[str, str]) -> str:
    """The name of the rule of `rule`, `recist` or `rano` with the options of that finding.

    Raises `UnknownName` for another, `BadOption` for what it does not ask, or before any work.
    """
    if not rule:
        if told:
            raise BadOption(f"{', '.join(told)} was told, but no rule asks for it; name one")
        return ""
    name = rule.partition(":")[0]
    if name not in ASKED:
        raise unknown("rule", name, ASKED)
    registry.parse("findings", rule)
    for key, value in told.items():
        if key not in ASKED[name]:
            raise BadOption(f"{name} asks for {', '.join(ASKED[name])}, not '{key}'")
        words = ("yes", "no") if key == "confirmed" else TOLD[key]
        if value not in words:
            raise BadOption(f"'{key}' takes {', '.join(words)}, not '{value}'")
    return name


def section(
    rule: str,
    predictions: Sequence[Prediction],
    tracks: Sequence[Track],
    names: Sequence[str],
    told: Mapping[str, str],
) -> dict[str, Any]:
    """The category of the last of some visits (the first visit first), `told` what is known of it.

    `rule` as for `checked`.
    """
    name = checked(rule, told)
    chosen: Any = registry.build("findings", rule)
    course = _Course(predictions, tracks, names, told)
    if name == "recist":
        regions = chosen.regions or tumours(predictions[-1].task)
        visits = course.visits(regions, nodes=chosen.nodes, organ=chosen.organ)
        doubts = course.doubts(regions)
        notes = [FIRST, *doubts, *[ELSEWHERE] * bool(doubts)]
        return _told([("", recist.respond(visits))], notes)
    return _rano(chosen, course, predictions[-1])


class _Course:
    """The tracks as the rules take them."""

    def __init__(
        self,
        predictions: Sequence[Prediction],
        tracks: Sequence[Track],
        names: Sequence[str],
        told: Mapping[str, str],
    ) -> None:
        self.predictions, self.names = predictions, names
        self.told: dict[str, Any] = dict(told)
        if "confirmed" in told:
            self.told["confirmed"] = told["confirmed"] == "yes"
        self.sizes: dict[tuple[str, ...], list[dict[str, Measured]]] = {}
        self.tracks = [one for one in tracks if _known(one)]
        self.unknown = [one for one in tracks if not _known(one)]

    def visits(self, regions: Sequence[str], **options: Any) -> list[Visit]:
        """What was measured of these regions at every visit."""
        tracks = [one for one in self.tracks if one.region in regions]
        key = tuple(regions)
        if key not in self.sizes:  # products and volumes are of the same measurements
            self.sizes[key] = [measured(one, regions, **options) for one in self.predictions]
        sizes = self.sizes[key]
        found = []
        for number in range(len(sizes)):
            lesions = {
                track.id: size
                for track in tracks
                if (size := _size(track, number, sizes)) is not None
            }
            last = number == len(self.predictions) - 1
            found.append(Visit(lesions, self.names[number], **(self.told if last else {})))
        return found

    def doubts(self, regions: Sequence[str]) -> list[str]:
        """Lesions that the first scan did not cover, which may be new or not."""
        names = [one.id for one in self.unknown if one.region in regions]
        said = f"{', '.join(names)}: where earlier scans did not look, so not counted as new."
        return [said] if names else []


def _known(track: Track) -> bool:
    """Whether it is known how it was before it was first shown."""
    first = next(n for n, one in enumerate(track.states) if one.kind == SHOWN)
    return first == 0 or any(one.kind in (GONE, SMALL) for one in track.states[:first])


def _size(track: Track, number: int, sizes: Sequence[Mapping[str, Measured]]) -> Measured | None:
    """A track at a visit, `sizes` being those of all; None if it could not be assessed."""
    state: State = track.states[number]
    if state.lesions:
        shown = [sizes[number][one.name] for one in state.lesions]
        return shown[0] if len(shown) == 1 else together(shown)
    if state.kind == SMALL:
        known = (found[one.name] for at, found in zip(track.states, sizes) for one in at.lesions)
        return Measured(0.0, 0.0, small=True, node=any(one.node for one in known))
    first = next(n for n, one in enumerate(track.states) if one.kind == SHOWN)
    gone = state.kind in (GONE, MERGED) or number < first
    return NOTHING if gone else None


def _rano(chosen: Any, course: _Course, now: Prediction) -> dict[str, Any]:
    """Both parts of the tumour, by diameters and by volume, and one category of each."""
    found: list[tuple[str, Response]] = []
    notes: list[str] = []
    kinds = {
        "enhancing": chosen.enhancing or enhancing(now.task),
        "non-enhancing": chosen.other or not_enhancing(now.task),
    }
    for by in ("product", "volume"):
        parts = {}
        for kind, asked in kinds.items():
            regions = outermost(now.task, [name for name in asked if name in now.task.regions])
            if not regions:
                notes.append(f"RANO 2.0 of {kind} tumour was not assessed: no region is named so.")
                continue
            visits = course.visits(regions)
            parts[kind] = rano.respond(visits, by=by, enhancing=kind == "enhancing")
            found.append((f"{kind}, by {by}", parts[kind]))
            notes += course.doubts(regions)
        if len(parts) == 2:
            both = rano.combine(*(one.category for one in parts.values()))
            notes.append(f"RANO 2.0 of both parts together, by {by}: {both}.")
    return _told(found, list(dict.fromkeys(notes)))


def _told(found: Sequence[tuple[str, Response]], notes: Sequence[str]) -> dict[str, Any]:
    """Rows of one response or more, each under its own words."""
    rows: list[dict[str, Any]] = []
    for kind, one in found:
        after = f", {kind}" if kind else ""
        rows += [
            {"name": f"category{after}", "value": one.category, "unit": ""},
            {"name": f"why{after}", "value": one.sentence, "unit": ""},
        ]
        sums = {"first sum": one.baseline, "least sum before": one.nadir, "sum now": one.current}
        rows += [
            {"name": f"{name}{after}", "value": value, "unit": one.unit}
            for name, value in sums.items()
            if value is not None
        ]
        if one.targets:
            rows.append(
                {"name": f"target lesions{after}", "value": ", ".join(one.targets), "unit": ""}
            )
    if not found:
        return {
            "title": "Response",
            "method": "No rule could be applied.",
            "rows": [],
            "notes": [*notes],
        }
    rule = found[0][1]
    methods = dict.fromkeys(one.limits for _, one in found)
    return {
        "title": f"Response by {rule.criterion}",
        "method": " ".join(methods),
        "rows": rows,
        "notes": [*notes],
    }
