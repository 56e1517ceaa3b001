"""RANO 2.0: the category of every visit of a course, with the numbers and the rule that decided.

Wen et al. 2023, doi 10.1200/JCO.23.01059. By products of perpendicular diameters or by volume;
enhancing and non-enhancing tumour are followed apart (a course each) and put together by `combine`.

Verified in works that cite it: 25% and 50% of products, 40% and 65% of volumes, 25 to 50% of
products for a minor response (as in the criteria for low grades), new measurable lesions, clinical
decline, more steroids alone, and the table of both parts. Not verified, so our reading: a minor
response by volume (40 to 65%), from what size tumour is back where the smallest sum was 0, PR for
what is gone under steroids, and MR for PR of one part and MR of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from oncoseg.blocks.target_lesions import (
    MEASURABLE,
    ROUNDING,
    Measured,
    rano_measurable,
    rano_targets,
)
from oncoseg.errors import BadOption
from oncoseg.response.course import (
    CR,
    MR,
    NE,
    PD,
    PR,
    SD,
    Response,
    Rule,
    Visit,
    appeared,
    checked,
    concluded,
    follow_targets,
)

# By what a sum is made of: rise of PD, fall of PR, fall of MR, and from what size alone it counts
# as measurable tumour that is back where the smallest sum is 0 (10 mm squared, or a ball of 10 mm).
SIZES = {
    "product": (0.25, 0.50, 0.25, MEASURABLE**2),
    "volume": (0.40, 0.65, 0.40, math.pi / 6 * MEASURABLE**3 / 1000),
}


def judge(
    first: float, least: float, current: float, *, by: str = "product", enhancing: bool = True
) -> str:
    """PD, PR, MR (of non-enhancing tumour alone) or SD of a sum in mm² (or ml)."""
    rise, fall, minor, back = SIZES[by]
    grown = current >= (1 + rise) * least - ROUNDING if least > ROUNDING else current >= back
    if grown:
        return PD
    if current <= (1 - fall) * first + ROUNDING:
        return PR
    return MR if not enhancing and current <= (1 - minor) * first + ROUNDING else SD


def rule(by: str = "product", *, enhancing: bool = True) -> Rule:
    """How lesions are sized and judged. Raises `BadOption` unless by `product` or `volume`."""
    if by not in SIZES:
        raise BadOption(f"RANO measures by {' or '.join(SIZES)}, not '{by}'")
    rise, fall, minor, _ = SIZES[by]
    what = {"product": "products of diameters", "volume": "volumes"}[by]
    smaller = f"; MR from {minor:.0%} below it" if not enhancing else ""
    limits = (
        f"RANO 2.0: PD from {rise:.0%} above the smallest sum of {what}, or with a new measurable "
        "lesion, progression of what is not measurable, or clinical decline by the tumour; PR "
        f"from {fall:.0%} below the first sum{smaller}; CR if nothing is left and no steroids are "
        "needed; SD between. None but PD with more steroids than at first."
    )
    return Rule(
        "RANO 2.0",
        {"product": "mm²", "volume": "ml"}[by],
        limits,
        (lambda one: one.product) if by == "product" else (lambda one: one.volume),
        _product_error if by == "product" else (lambda one: one.error_ml),
        lambda first, least, current: judge(first, least, current, by=by, enhancing=enhancing),
        lambda one: not one.seen,
    )


def _product_error(one: Measured) -> float:
    """Of a product a·b, of which both are wrong by e: e·sqrt(a² + b²)."""
    return one.error * math.hypot(one.long, one.short)


def respond(
    course: Sequence[Visit],
    targets: Sequence[str] = (),
    *,
    by: str = "product",
    enhancing: bool = True,
) -> Response:
    """The category of the last visit, of lesions that all enhance or all do not.

    The first visit has to be the rule's baseline, which of newly diagnosed tumour is the first MRI
    after radiotherapy. `targets` and errors as in `recist.respond`.
    """
    return follow(course, targets, by=by, enhancing=enhancing)[-1]


def follow(
    course: Sequence[Visit],
    targets: Sequence[str] = (),
    *,
    by: str = "product",
    enhancing: bool = True,
) -> tuple[Response, ...]:
    """The category of each visit after the first."""
    checked(course, targets)
    used = rule(by, enhancing=enhancing)
    chosen = tuple(targets) or rano_targets(course[0].lesions)
    ends = range(2, len(course) + 1)
    return tuple(_one(course[:end], chosen, used) for end in ends)


def combine(enhancing: str, other: str) -> str:
    """One category of a tumour of which both parts are followed.

    PD of either is PD; beside a CR the other part counts, beside SD a response of the other does.
    Of PR and MR the lesser counts.
    """
    both = (enhancing, other)
    for category in (PD, NE, MR, PR):
        if category in both:
            return category
    return CR if both == (CR, CR) else SD


def _one(course: Sequence[Visit], targets: Sequence[str], used: Rule) -> Response:
    new = appeared(course, used)
    found = follow_targets(course, targets, used) if targets else None
    alone = found.category if found else NE
    category, why = _overall(alone, course, targets, new)
    return concluded(
        used,
        targets,
        found,
        category,
        why,
        new=new,
        possible=found.possible if found and category == alone else (),
        unassessed=_unassessed(course[-1], category, new),
        target=alone,
    )


def _overall(
    alone: str, course: Sequence[Visit], targets: Sequence[str], new: Sequence[str]
) -> tuple[str, str]:
    """The category with all that was told, and what decided; `new` are measurable or not."""
    visit = course[-1]
    measurable = [name for name in new if rano_measurable(visit.lesions[name])]
    if measurable:
        return PD, f"new measurable lesion {', '.join(measurable)}"
    if visit.nontarget == PD:
        return PD, "progression of what is not measurable"
    if visit.clinical == "worse":
        return PD, "clinical decline by the tumour"
    if alone == PD:
        return PD, "the sum"
    if alone == NE:
        return NE, "lesions that could not be assessed" if targets else "nothing measurable"
    if visit.steroids == "more":
        return NE, f"more steroids than at first, so neither {alone} nor progression"
    if alone == CR:
        return _complete(visit, course, targets)
    return alone, "the sum"


def _complete(visit: Visit, course: Sequence[Visit], targets: Sequence[str]) -> tuple[str, str]:
    """CR, or PR where other lesions are left or steroids still needed."""
    left = [name for name, one in visit.lesions.items() if one.seen and name not in targets]
    missing = [name for name in course[0].lesions if name not in visit.lesions]
    if left or missing or visit.nontarget not in (None, CR, "none"):
        return PR, "what is left, or not assessed, besides target lesions that are gone"
    if visit.steroids in ("less", "stable"):
        return PR, "steroids that are still needed although nothing is left"
    return CR, "no lesion that is left"


def _unassessed(visit: Visit, category: str, new: Sequence[str]) -> tuple[str, ...]:
    """What the rule asks a person for, where nothing was told."""
    told = ["whether the first visit is the rule's baseline"]
    if new and category == PD:
        told.append("whether what is new is tumour")
    elif new:
        told.append(f"what is new but not measurable ({', '.join(new)})")
    asked = {"clinical": "clinical status", "steroids": "steroids"}
    told += [word for key, word in asked.items() if getattr(visit, key) is None]
    if visit.nontarget is None:
        told.append("progression of what is not measurable")
    if category in (CR, PR, MR, PD) and visit.confirmed is None:
        told.append("confirmation by a later scan")
    return tuple(told)
