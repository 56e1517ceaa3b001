"""A course: each tracked lesion at each visit, and what a sum of them says of the last one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oncoseg.blocks.target_lesions import ROUNDING, Measured
from oncoseg.errors import BadData, BadOption

CR, PR, MR, SD, PD, NE = "CR", "PR", "MR", "SD", "PD", "NE"
REST = "non-CR/non-PD"
TOLD = {
    "nontarget": ("none", CR, REST, PD, NE),
    "clinical": ("better", "stable", "worse"),
    "steroids": ("none", "less", "stable", "more"),
}


@dataclass(frozen=True)
class Visit:
    """What was measured at one visit, and what a person told of it; None was not told.

    `lesions` holds each tracked lesion by its id, the same at every visit: `GONE` where it was
    looked for and is not there, `Measured(..., small=True)` where what is left is too small to be
    measured; one that is missing could not be assessed. Of lesions that merged, one has the size
    of all and the others are `GONE`; of one that split it is `together(parts)`. `name` is what
    sentences call the visit, such as its date. `nontarget` is none, CR, non-CR/non-PD, PD
    (unequivocal) or NE; `clinical` better, stable or worse (by the tumour); `steroids` none (or
    what the body itself makes), less, stable or more, beside the first visit; `confirmed` whether a
    later scan bore the response out. Raises `BadOption` for any other word.
    """

    lesions: Mapping[str, Measured]
    name: str = ""
    nontarget: str | None = None
    clinical: str | None = None
    steroids: str | None = None
    confirmed: bool | None = None

    def __post_init__(self) -> None:
        for key, words in TOLD.items():
            value = getattr(self, key)
            if value is not None and value not in words:
                raise BadOption(f"'{key}' of a visit takes {', '.join(words)}, not '{value}'")


@dataclass(frozen=True)
class Total:
    """The sum of the target lesions at a visit, its error, and which were not wholly assessed.

    With some `missing`, or cut by the edge of the image, the sum is at least `value`.
    """

    value: float
    error: float
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Response:
    """A category by a rule, in numbers and as a sentence.

    `target` is that of the target lesions alone, `possible` any others that the error of
    measurement leaves open. `baseline`, `nadir` (smallest sum before this visit) and `current` are
    sums in `unit`; None could not be measured. `error` is that of the change from the nadir,
    `limits` the rule's own text, `unassessed` what was not told and so did not count.
    """

    criterion: str
    category: str
    target: str
    sentence: str
    limits: str
    unit: str
    targets: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    baseline: float | None = None
    nadir: float | None = None
    current: float | None = None
    error: float = 0.0
    possible: tuple[str, ...] = ()
    unassessed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """How a criterion sizes a lesion, and what it calls a sum beside the first and the smallest."""

    name: str
    unit: str
    limits: str
    size: Callable[[Measured], float]
    error: Callable[[Measured], float]
    judge: Callable[[float, float, float], str]
    clear: Callable[[Measured], bool]


def totals(course: Sequence[Visit], targets: Sequence[str], rule: Rule) -> list[Total]:
    """The sum at each visit; errors of lesions are taken as independent."""
    found = []
    for visit in course:
        there = [visit.lesions[name] for name in targets if name in visit.lesions]
        missing = tuple(
            name for name in targets if name not in visit.lesions or visit.lesions[name].cut
        )
        wrong = math.hypot(*(rule.error(one) for one in there)) if there else 0.0
        found.append(Total(sum(map(rule.size, there)), wrong, missing))
    return found


@dataclass(frozen=True)
class Followed:
    """The target lesions at the last of some visits, as `follow_targets` finds them."""

    category: str
    first: Total
    least: Total
    last: Total
    possible: tuple[str, ...]

    @property
    def error(self) -> float:
        """Of the change from the smallest sum."""
        return math.hypot(self.least.error, self.last.error)


def follow_targets(course: Sequence[Visit], targets: Sequence[str], rule: Rule) -> Followed:
    """The category of the last visit by its target lesions alone.

    The smallest sum is looked for among all earlier visits with none missing, the first too. Some
    missing is NE, unless what there is adds up to PD already.
    """
    sums = totals(course, targets, rule)
    first, last = sums[0], sums[-1]
    whole = [one for one in sums[:-1] if not one.missing]
    least = min(whole, key=lambda one: one.value)
    known = [course[-1].lesions[name] for name in targets if name in course[-1].lesions]
    if not last.missing and all(map(rule.clear, known)):
        return Followed(CR, first, least, last, ())
    called = rule.judge(first.value, least.value, last.value)
    if last.missing:
        return Followed(called if called == PD else NE, first, least, last, ())
    spread = math.hypot(max(first.error, least.error), last.error)
    ends = (max(last.value - spread, 0.0), last.value + spread)
    others = dict.fromkeys(rule.judge(first.value, least.value, end) for end in ends)
    return Followed(called, first, least, last, tuple(one for one in others if one != called))


def checked(course: Sequence[Visit], targets: Sequence[str]) -> None:
    """Raises `BadData` unless there are two visits, and the first has each target lesion whole."""
    if len(course) < 2:
        raise BadData("a response needs two visits or more; give an earlier one with it")
    for name in targets:
        one = course[0].lesions.get(name)
        if one is None or not one.seen:
            raise BadData(f"target lesion '{name}' is not in the first visit; choose among its own")
        if one.cut:
            raise BadData(f"target lesion '{name}' is cut by the first image; choose another")


def percent(value: float, reference: float) -> str:
    """A change as `+12.5%`; of nothing it has none."""
    if reference <= ROUNDING:
        return "no percentage of 0"
    return f"{100 * (value - reference) / reference:+.1f}%"


def told_of(found: Followed, rule: Rule, count: int) -> str:
    """The sums and changes in words, and whether they lie within the error of measurement."""
    first, least, last = found.first.value, found.least.value, found.last.value
    lesions = (
        "the target lesion measures" if count == 1 else f"the {count} target lesions add up to"
    )
    if found.last.missing:
        gone = ", ".join(found.last.missing)
        lesions = f"with {gone} not, or not wholly, assessed the target lesions add up to at least"
    text = f"{lesions} {last:.1f} {rule.unit}, at first {first:.1f} ({percent(last, first)})"
    if least != first:
        text += f", at the least {least:.1f} ({percent(last, least)})"
    change, error = abs(last - least), found.error
    if error and change <= error and not found.last.missing:
        text += f"; the change since the least is within measurement error (±{error:.1f})"
    return text


def appeared(course: Sequence[Visit], rule: Rule) -> tuple[str, ...]:
    """Ids of lesions at the last visit that are not at the first; what the rule clears is none."""
    before, now = course[0].lesions, course[-1].lesions
    return tuple(
        name
        for name, one in now.items()
        if not rule.clear(one) and (name not in before or not before[name].seen)
    )


def concluded(
    rule: Rule,
    targets: Sequence[str],
    found: Followed | None,
    category: str,
    why: str,
    *,
    new: tuple[str, ...],
    possible: tuple[str, ...],
    unassessed: tuple[str, ...],
    target: str,
) -> Response:
    """The category and `why`, with the sums of target lesions; None were there to be followed."""
    numbers = "no lesion of the first visit is measurable, so there is no sum to follow"
    sums: dict[str, float | None] = {}
    if found:
        numbers = told_of(found, rule, len(targets))
        current = None if found.last.missing else found.last.value
        sums = {"baseline": found.first.value, "nadir": found.least.value, "current": current}
    sentence = f"{category} by {rule.name}, for {why}: {numbers}."
    if possible:
        sentence += f" Measurement error leaves {' and '.join(possible)} open."
    if unassessed:
        sentence += f" Not assessed: {'; '.join(unassessed)}."
    return Response(
        rule.name,
        category,
        target,
        sentence,
        rule.limits,
        rule.unit,
        tuple(targets),
        new,
        **sums,
        error=found.error if found else 0.0,
        possible=possible,
        unassessed=unassessed,
    )
