"""RECIST 1.1: the category of every visit of a course, with the numbers and the rule that decided.

Eisenhauer et al. 2009, doi 10.1016/j.ejca.2008.10.026: tables 1 and 2, and its missing lesions. The
group's own clarifications (recist.eortc.org) say that a partial response goes on until progression,
and that after a complete response any return of tumour is progression.
"""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.target_lesions import GONE, ROUNDING, recist_clear, recist_targets
from oncoseg.response.course import (
    CR,
    NE,
    PD,
    PR,
    REST,
    SD,
    Response,
    Rule,
    Visit,
    appeared,
    checked,
    concluded,
    follow_targets,
)

FALL, RISE, RISE_MM = 0.30, 0.20, 5.0
LIMITS = (
    "RECIST 1.1: PD from 20% and 5 mm above the smallest sum of diameters, or with a new lesion, "
    "or with unequivocal progression of non-target lesions; PR from 30% below the first sum; CR if "
    "nothing is left and every node is below 10 mm of short axis; SD between."
)


def judge(first: float, least: float, current: float) -> str:
    """PD, PR or SD of a sum of diameters in mm, beside the first and the smallest before it."""
    rise = current - least
    if rise >= RISE_MM - ROUNDING and rise >= RISE * least - ROUNDING:
        return PD
    return PR if current <= (1 - FALL) * first + ROUNDING else SD


RULE = Rule(
    "RECIST 1.1",
    "mm",
    LIMITS,
    lambda one: one.diameter,
    lambda one: one.error if one.seen else 0.0,
    judge,
    recist_clear,
)


def respond(course: Sequence[Visit], targets: Sequence[str] = ()) -> Response:
    """The category of the last visit of a course, the first visit being its baseline.

    `targets` are ids chosen by a person; without any, those that the rule suggests of the first
    visit. Raises `BadData` for fewer than two visits, or a target that is not in the first.
    """
    return follow(course, targets)[-1]


def follow(course: Sequence[Visit], targets: Sequence[str] = ()) -> tuple[Response, ...]:
    """The category of each visit after the first."""
    checked(course, targets)
    chosen = tuple(targets) or recist_targets(course[0].lesions)
    found: list[Response] = []
    for end in range(2, len(course) + 1):
        found.append(_one(course[:end], chosen, found))
    return tuple(found)


def others(course: Sequence[Visit], targets: Sequence[str]) -> str:
    """The state of lesions of the first visit that are no targets, as measured: "" without any.

    NE where one was not assessed, or is cut by the image so that its growth would not be seen.
    """
    now = course[-1].lesions
    rest = _rest(course, targets)
    if not rest:
        return ""
    if any(name not in now or now[name].cut for name in rest):
        return NE
    return CR if all(recist_clear(now[name]) for name in rest) else REST


def _rest(course: Sequence[Visit], targets: Sequence[str]) -> list[str]:
    """Lesions of the first visit, but for normal nodes, that are no targets."""
    return [
        name
        for name, one in course[0].lesions.items()
        if name not in targets and not recist_clear(one)
    ]


def _one(course: Sequence[Visit], targets: Sequence[str], before: Sequence[Response]) -> Response:
    visit, new = course[-1], appeared(course, RULE)
    state = visit.nontarget or others(course, targets)
    rest = [visit.lesions.get(name, GONE) for name in _rest(course, targets)]
    left = state == REST or not all(map(recist_clear, rest))
    followed = follow_targets(course, targets, RULE) if targets else None
    alone = _kept(followed.category, before) if followed else ""
    once = any(one.category == CR for one in before)
    back = once and (alone in (PR, SD) or (alone in ("", CR) and left))
    category, why = _overall(alone, state, new, back=back)
    if followed and alone != followed.category:
        why += ", since a partial response goes on until progression"
    possible = followed.possible if followed and category == alone else ()
    return concluded(
        RULE,
        targets,
        followed,
        category,
        why,
        new=new,
        possible=tuple(one for one in possible if _kept(one, before) == one),
        unassessed=_unassessed(visit, category, new),
        target=alone or NE,
    )


def _kept(category: str, before: Sequence[Response]) -> str:
    """SD after PR is PR still: only progression ends it."""
    earlier = [one.target for one in before if one.target != NE]
    return PR if category == SD and earlier and earlier[-1] == PR else category


def _overall(alone: str, state: str, new: Sequence[str], *, back: bool) -> tuple[str, str]:
    """Table 1 (with target lesions) or 2 (`alone` is ""), and what in it decided.

    `back` says that there is tumour again after a complete response.
    """
    if new:
        return PD, f"new lesion {', '.join(new)}"
    if state == PD:
        return PD, "unequivocal progression of non-target lesions"
    if alone == PD:
        return PD, "the sum of diameters"
    if back:
        return PD, "tumour that is back after a complete response"
    if not alone:
        known = state in (CR, REST, NE)
        return (state if known else NE), "non-target lesions alone"
    if alone == CR and state in (REST, NE):
        return PR, f"non-target lesions ({state}) although the target lesions are gone"
    if alone == NE:
        return NE, "target lesions that could not be assessed"
    return alone, "no target lesion that is left" if alone == CR else "the sum of diameters"


def _unassessed(visit: Visit, category: str, new: Sequence[str]) -> tuple[str, ...]:
    """What the rule asks a person for, where nothing was told."""
    told = []
    if new:
        told.append("whether what is new is unequivocally tumour")
    if visit.nontarget is None:
        told.append("unequivocal progression of non-target lesions, and tumour markers")
    if category in (CR, PR) and visit.confirmed is None:
        told.append("confirmation of the response by a later scan, which some trials ask for")
    return tuple(told)
