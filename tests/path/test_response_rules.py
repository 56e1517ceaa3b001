"""Hand-made courses and the category that RECIST 1.1 and RANO 2.0 give their last visit.

A visit is its lesions, `a40` of 40 mm (a node, `n16`, by its short axis; `a30x20` by both
diameters; `v7` of 7 ml), `a0` gone, `as` too small to measure, one that is not named not assessed;
what a person told stands behind `;`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncoseg import Grid, Prediction, Task
from oncoseg.blocks.target_lesions import GONE, Measured, together
from oncoseg.errors import BadData, BadOption
from oncoseg.response import rano, recist
from oncoseg.response.categories import section
from oncoseg.response.course import Visit
from oncoseg.response.match import Visit as Match
from oncoseg.response.match import follow


def lesion(text, **options):
    if text == "0":
        return GONE
    if text == "s":
        return Measured(2.0, 1.5, slices=2, thickness=1.0, small=True, **options)
    long, _, short = text.partition("x")
    long, short = float(long), float(short or long)
    return Measured(long, short, slices=4, thickness=1.0, **options)


def one(word):
    name, size = word[0], word[1:]
    if name == "v":  # known by its volume; large enough to be measurable
        return Measured(40.0, 40.0, float(size), slices=9, thickness=1.0) if size != "0" else GONE
    if name == "n" and size == "s":
        return lesion(size, node=True)
    if name == "n" and size != "0":
        return Measured(1.5 * float(size), float(size), slices=4, thickness=1.0, node=True)
    return lesion(size)


def visit(text, **options):
    words, _, told = text.partition(";")
    told = dict(word.split("=") for word in told.split())
    return Visit({word[0]: one(word) for word in words.split()}, **told, **options)


def course(text):
    return [visit(part) for part in text.split("|")]


RECIST = [
    # (course, category, what decided or has to be said)
    ("a50 b50 | a35 b35", "PR", "exactly 30% below the first sum"),
    ("a50 b50 | a35.1 b35", "SD", "29.9% below it"),
    ("a50 b50 | a50 b50", "SD", "nothing changed"),
    ("a25 | a30", "PD", "exactly 20% and exactly 5 mm above it"),
    ("a20 | a24.9", "SD", "24.5% above it, but less than 5 mm"),
    ("a50 | a59.9", "SD", "9.9 mm above it, but less than 20%"),
    ("a100 | a60 | a72", "PD", "20% above the nadir, though 28% below the first sum"),
    ("a165 | a63 | a65", "PR", "the example of the group's clarifications"),
    ("a100 | a69 | a75", "PR", "a partial response goes on until progression"),
    ("a100 | a110 | a69", "PR", "the nadir is the first sum where that is the smallest"),
    ("a100 | a60 | a80 | a80", "PD", "the nadir is of the whole course, not of the last visit"),
    ("a30 b20 | a0 b0", "CR", "nothing is left"),
    ("a30 | a0 | a4", "PD", "nadir 0: after a complete response any return is progression"),
    ("a30 b8 | a0 b8 | a4 b8", "PR", "nadir 0 without a complete response: 4 mm are not 5"),
    ("a30 b8 | a0 b8 | a5 b8", "PD", "nadir 0 without a complete response: 5 mm are"),
    ("a30 b8 | a0 b0 | a0 b8", "PD", "a non-target lesion that is back after a complete response"),
    ("n18 | n9.9", "CR", "a node below 10 mm is normal"),
    ("n18 | ns", "CR", "one that is too small to measure is 5 mm, so normal"),
    ("n18 | n10", "PR", "one of 10 mm is not"),
    ("n18 | n5 | n9.9", "CR", "a normal node may grow and stay normal"),
    ("n18 | n5 | n10", "PD", "a node is back from 10 mm on"),
    ("a30 n20 | a0 n8", "CR", "the sum is 8 mm, and yet a complete response"),
    ("a30 n20 | a0 n12", "PR", "the node is not normal"),
    ("a50 | a20 c12", "PD", "a new lesion beside targets that shrink"),
    ("a50 | a50 n8", "SD", "a new normal node is no lesion"),
    ("a50 | a50 n10", "PD", "a new node of 10 mm is one"),
    ("a50 b30 | a45", "NE", "a target lesion could not be assessed"),
    ("a30 b20 | a0", "NE", "one is gone, the other could not be assessed"),
    ("a30 b20 | a80", "PD", "what could be assessed is progression already"),
    ("a50 b30 | a45 c12", "PD", "a new lesion, whatever could not be assessed"),
    ("a50 b30 | a20 | a50 b30", "SD", "a visit with one missing is no nadir"),
    ("a30 b20 | as b0", "PR", "too small to measure is not gone"),
    ("a10 | as", "PR", "too small to measure is 5 mm, half of 10"),
    ("a13.9 | as", "PR", "and 64% below 13.9"),
    ("a30 b8 | a0 b8 | as b8", "PD", "it grows by 5 mm where nothing was"),
    ("a30 | a10 ; nontarget=PD", "PD", "non-target lesions progress unequivocally"),
    ("a30 | a0 ; nontarget=non-CR/non-PD", "PR", "targets are gone, other lesions are not"),
    ("a30 | a0 ; nontarget=NE", "PR", "targets are gone, others were not assessed"),
    ("a30 | a0 ; nontarget=CR", "CR", "targets and others are gone"),
    ("a30 | a30 ; nontarget=NE", "SD", "the targets decide"),
    ("a30 b9 | a0 b9", "PR", "a small lesion, no target, is measured and still there"),
    ("a30 n12 | a0 n9", "CR", "a node that was no target is normal"),
    ("b8 | b8", "non-CR/non-PD", "nothing measurable: table 2"),
    ("b8 | b0", "CR", "nothing measurable, and it is gone"),
    ("b8 | b0 | b8", "PD", "nothing measurable, back after it was gone"),
    ("b8 | b8 c12", "PD", "nothing measurable, and a new lesion"),
    ("b8 c9 | b0", "NE", "nothing measurable, and one not assessed"),
    ("b8 c9 | b8", "NE", "nothing measurable, one left and one not assessed"),
    ("a50 b40 c30 d20 e15 f12 | a50 b40 c30 d20 e15 f0", "SD", "the sixth is no target"),
]


@pytest.mark.parametrize(("text", "category", "why"), RECIST, ids=[row[2] for row in RECIST])
def test_recist(text, category, why):
    found = recist.respond(course(text))
    assert found.category == category, f"{why}: {found.sentence}"
    assert found.sentence.startswith(f"{category} by RECIST 1.1, for ")
    assert "nan" not in found.sentence
    assert "inf" not in found.sentence


RANO = [
    # (course, enhancing, by, category, why)
    ("a20x20 | a20x10", True, "product", "PR", "exactly half"),
    ("a20x20 | a20x10.1", True, "product", "SD", "49.5% smaller"),
    ("a20x20 | a20x10.1", False, "product", "MR", "49.5% smaller, not enhancing"),
    ("a20x20 | a20x15", False, "product", "MR", "exactly 25% smaller"),
    ("a20x20 | a20x15.1", False, "product", "SD", "24.5% smaller"),
    ("a20x20 | a25x20", True, "product", "PD", "exactly 25% larger"),
    ("a20x20 | a24.9x20", True, "product", "SD", "24.5% larger"),
    ("a20x20 | a20x10 | a20x12.5", True, "product", "PD", "25% above the nadir, 37.5% below first"),
    ("a20x20 b15x12 | a0 b0", True, "product", "CR", "nothing is left, steroids not told"),
    ("a20x20 | a0 ; steroids=none", True, "product", "CR", "nothing is left, no steroids"),
    ("a20x20 | a0 ; steroids=stable", True, "product", "PR", "nothing is left, with steroids"),
    ("a20x20 b9x5 | a0 b9x5", True, "product", "PR", "what was not measurable is left"),
    ("a20x20 | a10x10 ; clinical=worse", True, "product", "PD", "clinical decline by the tumour"),
    ("a20x20 | a20x20 ; steroids=more", True, "product", "NE", "neither stable nor progression"),
    ("a20x20 | a30x20 ; steroids=more", True, "product", "PD", "progression all the same"),
    ("a20x20 | a10x10 ; nontarget=PD", True, "product", "PD", "what is not measurable grew"),
    ("a20x20 | a10x10 c12x10", True, "product", "PD", "a new measurable lesion"),
    ("a20x20 | a20x20 c12x9", True, "product", "SD", "a new lesion that is not measurable"),
    ("a20x20 b15x15 | a20x20", True, "product", "NE", "one could not be assessed"),
    ("a20x20 b15x15 | a40x20", True, "product", "PD", "the other is progression already"),
    ("a20x20 | a0 | a12x10", True, "product", "PD", "nadir 0, measurable tumour is back"),
    ("a20x20 | a0 | a6x6", True, "product", "PR", "nadir 0, what is back is not measurable"),
    ("b9x9 | b9x9", True, "product", "NE", "nothing measurable"),
    ("b9x9 | b9x9 c15x15", True, "product", "PD", "nothing measurable, then a new lesion"),
    ("a30x30 b25x25 c20x20 d15x15 | a30x30 b25x25 c20x20 d0", True, "product", "SD", "three count"),
    ("v10 | v14", True, "volume", "PD", "exactly 40% more"),
    ("v10 | v13.9", True, "volume", "SD", "39% more"),
    ("v10 | v3.5", True, "volume", "PR", "exactly 65% less"),
    ("v10 | v3.6", True, "volume", "SD", "64% less"),
    ("v10 | v3.6", False, "volume", "MR", "64% less, not enhancing"),
    ("v10 | v6", False, "volume", "MR", "exactly 40% less"),
    ("v10 | v6.1", False, "volume", "SD", "39% less"),
    ("v10 | v0", True, "volume", "CR", "nothing is left"),
]


@pytest.mark.parametrize(
    ("text", "enhancing", "by", "category", "why"),
    RANO,
    ids=[f"{row[2]}-{row[4]}" for row in RANO],
)
def test_rano(text, enhancing, by, category, why):
    found = rano.respond(course(text), by=by, enhancing=enhancing)
    assert found.category == category, f"{why}: {found.sentence}"
    assert found.sentence.startswith(f"{category} by RANO 2.0, for ")


SIZE = st.floats(0, 200)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SIZE, SIZE, SIZE, SIZE)
def test_more_tumour_is_never_called_less(first, least, one, other):
    """At any first and smallest sum, a larger sum has the same category or a worse one."""
    order = ["PR", "MR", "SD", "PD"]
    least, small, large = min(first, least), min(one, other), max(one, other)
    rules = [recist.judge]
    for by in ("product", "volume"):
        rules += [rano.rule(by, enhancing=enhancing).judge for enhancing in (True, False)]
    for judge in rules:
        before, after = (order.index(judge(first, least, now)) for now in (small, large))
        assert before <= after


def test_both_parts_of_a_tumour_give_one_category():
    table = {
        ("PD", "CR"): "PD",
        ("SD", "PD"): "PD",
        ("SD", "PR"): "PR",
        ("MR", "SD"): "MR",
        ("CR", "SD"): "SD",
        ("CR", "PR"): "PR",
        ("CR", "MR"): "MR",
        ("PR", "MR"): "MR",
        ("SD", "SD"): "SD",
        ("CR", "CR"): "CR",
        ("NE", "SD"): "NE",
        ("NE", "PD"): "PD",
    }
    for (first, second), category in table.items():
        assert rano.combine(first, second) == rano.combine(second, first) == category


def test_sums_nadir_and_targets_are_told():
    found = recist.respond(course("a50 b50 n16 c8 | a20 b20 n10 c8 | a25 b20 n10 c8"))
    assert found.targets == ("a", "b", "n")
    assert (found.baseline, found.nadir, found.current, found.unit) == (116, 50, 55, "mm")
    assert "55.0 mm, at first 116.0 (-52.6%), at the least 50.0 (+10.0%)" in found.sentence
    assert "20% and 5 mm" in found.limits
    once = recist.respond(course("a50 | a40")).sentence
    assert "the target lesion measures 40.0 mm, at first 50.0 (-20.0%)." in once


def test_targets_chosen_by_a_person_count():
    text = "a50 b40 | a50 b20"
    assert recist.respond(course(text)).category == "SD"
    assert recist.respond(course(text), ["b"]).category == "PR"
    with pytest.raises(BadData, match="'x' is not in the first visit"):
        recist.respond(course(text), ["x"])
    with pytest.raises(BadData, match="two visits"):
        recist.respond(course("a50"))


def test_of_an_organ_two_count_and_nodes_are_one_organ():
    lesions = {f"l{size}": lesion(str(size), organ="liver") for size in (30, 28, 26)}
    lesions |= {f"n{size}": one(f"n{size}") for size in (20, 18, 16)} | {"s12": lesion("12")}
    found = recist.respond([Visit(lesions), Visit(lesions)])
    assert found.targets == ("l30", "l28", "n20", "n18", "s12")


def test_what_was_not_told_is_said_and_what_was_is_not():
    silent = rano.respond(course("a20x20 | a20x10"))
    for word in ("clinical status", "steroids", "confirmation", "baseline", "not measurable"):
        assert any(word in one for one in silent.unassessed)
        assert word in silent.sentence.partition("Not assessed: ")[2]
    told = "clinical=stable steroids=stable nontarget=none"
    full = [*course("a20x20"), visit(f"a20x10 ; {told}", confirmed=True)]
    assert rano.respond(full).unassessed == ("whether the first visit is the rule's baseline",)
    assert rano.respond(full).category == silent.category == "PR"
    assert recist.respond(course("a30 | a30 ; nontarget=none")).unassessed == ()
    assert "Not assessed" not in recist.respond(course("a30 | a30 ; nontarget=none")).sentence


def test_words_that_no_rule_knows_are_refused():
    with pytest.raises(BadOption, match="'steroids' of a visit takes none, less, stable, more"):
        Visit({}, steroids="some")
    with pytest.raises(BadOption, match="product or volume"):
        rano.respond(course("a20 | a20"), by="length")


@pytest.mark.parametrize(
    ("now", "within", "open_"), [(41.0, True, ()), (48.5, False, ("SD",)), (60.0, False, ())]
)
def test_what_lies_within_measurement_error_is_said(now, within, open_):
    """Two visits with an error of 1.5 mm each: changes are known to 2.1 mm."""
    both = [Measured(size, size, slices=9, thickness=1.0, error=1.5) for size in (40.0, now)]
    found = recist.respond([Visit({"a": one}) for one in both])
    assert found.error == pytest.approx(1.5 * 2**0.5)
    assert ("within measurement error (±2.1)" in found.sentence) == within
    assert found.possible == open_
    assert all(f"leaves {one} open" in found.sentence for one in open_)


def test_an_error_of_a_sum_is_of_independent_lesions_and_of_a_product_propagated():
    sized = Measured(30.0, 40.0, slices=9, thickness=1.0, error=1.0)
    visits = [Visit({"a": sized, "b": sized})] * 2
    assert recist.respond(visits).error == pytest.approx(2.0)  # sqrt(2) at each of two visits
    assert rano.respond(visits).error == pytest.approx(50 * 2)  # sqrt(30² + 40²) a lesion


@pytest.mark.parametrize(("now", "category"), [(30.0, "NE"), (20.0, "NE"), (36.0, "PD")])
def test_of_a_cut_target_only_growth_is_sure(now, category):
    whole = Measured(30.0, 30.0, slices=9, thickness=1.0)
    cut = Measured(now, now, slices=9, thickness=1.0, cut=True)
    for rule in (recist, rano):
        found = rule.respond([Visit({"a": whole}), Visit({"a": cut})])
        assert found.category == category
        assert found.current is None
        assert "a not, or not wholly, assessed" in found.sentence
    assert recist.respond([Visit({"a": cut}), Visit({"a": cut})]).category == "NE"
    with pytest.raises(BadData, match="'a' is cut by the first image"):
        recist.respond([Visit({"a": cut}), Visit({"a": whole})], ["a"])


def test_the_error_of_a_volume_is_that_of_its_lesions():
    one = Measured(30.0, 30.0, 14.0, slices=9, thickness=1.0, error_ml=1.5)
    found = rano.respond([Visit({"a": one})] * 2, by="volume")
    assert found.error == pytest.approx(1.5 * 2**0.5)


def test_lesions_that_split_or_merge():
    parts = [lesion("15"), lesion("12")]
    split = [Visit({"a": lesion("30")}), Visit({"a": together(parts)})]
    assert recist.respond(split).current == 27
    assert rano.respond(split).current == 15**2 + 12**2
    merged = [*course("a30 b20"), *course("a45 b0")]
    assert recist.respond(merged).current == 45
    assert recist.respond(merged).category == "SD"


def test_every_visit_has_its_own_category():
    visits = course("a100 | a60 | a73 | a50")
    assert [one.category for one in recist.follow(visits)] == ["PR", "PD", "PR"]
    assert [one.nadir for one in recist.follow(visits)] == [100, 60, 60]


def test_a_node_that_shrinks_below_the_smallest_lesion_is_normal():
    """Its region is known from the visits at which it is shown."""
    found = {}
    for name in ("lymph node", "tumour"):
        task = Task("t", ("ct",), {name: 1}, {name: (name,)})
        label = np.zeros((60, 40, 20), np.uint8)
        large, small = label.copy(), label.copy()
        large[5:45, 5:25, 5:12], small[5:8, 5:8, 5:8] = 1, 1
        grid = Grid(label.shape, np.eye(4))
        none = np.zeros((0, *label.shape), np.float16)
        both = [Prediction("c", task, grid, one, none, ("ct",)) for one in (large, small)]
        states = [Match.of(one, np.eye(4)) for one in both]
        told = section("recist", both, follow(states), ["before", "now"], {})
        found[name] = next(row["value"] for row in told["rows"] if row["name"] == "category")
    assert found == {"lymph node": "CR", "tumour": "PR"}
