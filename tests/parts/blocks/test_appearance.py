"""How unlike the training a scan is: never oftener said of sound ones than is promised."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import ndimage

from oncoseg.blocks.appearance import (
    LEAST,
    MOST,
    appearance,
    aspects,
    remembered,
    unlikeness,
    warning,
)
from oncoseg.blocks.modalities import COLOURS

NUMBERS = {dims: max(part.stop for part in aspects(dims).values()) for dims in (2, 3)}


def drawn(rng, count, names=("a",), dims=2):
    """Appearances from a distribution with long tails, whose numbers depend on each other."""
    mixed = rng.normal(size=(6, NUMBERS[dims]))
    tables = [np.exp(rng.normal(size=(count, 6))) @ mixed for _ in names]
    return [dict(zip(names, map(list, row))) for row in zip(*tables)]


def scan(seed, dims=3):
    """A head of sorts: bright on one side, with structure, noise and air around it."""
    rng = np.random.default_rng(seed)
    shape = (40, 48, 32)[:dims]
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    inside = (places**2).sum(0) < rng.uniform(0.7, 0.9)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 2) * 4
    image = 1.5 * places[0] + texture + rng.normal(0, 0.1, shape)
    return np.where(inside, image, 0).astype(np.float32)


def seen(image):
    return {"a": appearance(image, np.ones(image.shape, bool))}


@pytest.mark.parametrize("shape", [(40, 48, 32), (40, 48), (1, 1), (2, 1, 3), (9, 200, 5)])
def test_any_image_is_told_by_as_many_finite_numbers(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = appearance(image, np.ones(shape, bool))
    assert len(found) == NUMBERS[len(shape)]
    assert np.isfinite(found).all()
    assert json.loads(json.dumps(found)) == found
    nothing = appearance(image * 0, np.zeros(shape, bool))
    assert np.isfinite(nothing).all()


def test_the_numbers_are_what_they_say():
    image = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    image[:3] = 0
    found, part = np.array(appearance(image, np.ones(image.shape, bool))), aspects(2)
    inside = image[image != 0]
    shades = np.quantile(inside, np.linspace(0.005, 0.995, 17))
    assert found[part["shades"]] == pytest.approx(shades, abs=1e-3)
    steps = [np.abs(np.diff(image[:8], axis=0)), np.abs(np.diff(image[8:], axis=0))]
    mean = np.concatenate(steps).mean() / (shades[-1] - shades[0])
    assert found[part["sharpness or noise"]][0] == pytest.approx(np.log(mean + 1e-4), abs=1e-3)
    filled, *means = found[part["layout"]]
    assert filled == pytest.approx(np.log(inside.size / image.size + 1e-3), abs=1e-3)
    assert means[4] == pytest.approx(image[5:10, 8:16].mean(), abs=1e-3)


@pytest.mark.parametrize("count", [9, 19, 40])
def test_of_sound_scans_no_more_are_called_odd_than_is_promised(count):
    rng = np.random.default_rng(count)
    trials = 600
    odd = 0
    for _ in range(trials):
        *cases, new = drawn(rng, count + 1)
        odd += unlikeness(cases, new, 2)["odd"]
    most = max(0.05, 1 / (count + 1))
    assert odd / trials <= most + 3 * np.sqrt(most * (1 - most) / trials)


@settings(max_examples=20, deadline=None)
@given(seed=some.integers(0, 999), factor=some.floats(0.01, 100), shift=some.floats(-9, 9))
def test_neither_order_nor_scale_counts(seed, factor, shift):
    rng = np.random.default_rng(seed)
    *cases, new = drawn(rng, 13, ("a", "b"))
    turned = [{name: one[name] for name in ("b", "a")} for one in rng.permutation(cases)]
    assert unlikeness(turned, new, 2) == unlikeness(cases, new, 2)

    def scaled(one):
        return {name: list(factor * np.array(values) + shift) for name, values in one.items()}

    moved = unlikeness([scaled(one) for one in cases], scaled(new), 2)
    assert moved["share"] == pytest.approx(unlikeness(cases, new, 2)["share"], abs=1 / 12)


CHANGES = {
    "noise": (lambda a: a + np.random.default_rng(1).normal(0, 1, a.shape), "sharpness or noise"),
    "blur": (lambda a: ndimage.gaussian_filter(a, 2), "sharpness or noise"),
    "other way round": (lambda a: a[::-1], "layout"),
    "half": (lambda a: np.where(np.arange(len(a))[:, None, None] < 20, a, 0), "layout"),
    "contrast": (lambda a: np.sign(a) * a**2, "shades"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_wrong_with_a_scan_is_found_and_named(what):
    cases = [seen(scan(seed)) for seed in range(40)]
    sound = [unlikeness(cases, seen(scan(seed)), 3)["odd"] for seed in range(100, 120)]
    assert sum(sound) <= 4
    change, aspect = CHANGES[what]
    for seed in range(100, 105):
        told = unlikeness(cases, seen(change(scan(seed)).astype(np.float32)), 3)
        assert told["odd"]
        assert aspect in told["aspects"]
        assert told["share"] > 0.95
        (sentence,) = warning(told)
        assert sentence.startswith("This scan is unlike those the model learned from in ")
        assert sentence.endswith(" its 40 training scans are unlike the rest. Expect errors.")


def test_the_image_that_is_unlike_is_named():
    rng = np.random.default_rng(0)
    cases = drawn(rng, 60, ("t1", "t2"))
    new = drawn(np.random.default_rng(1), 1, ("t1", "t2"))[0]
    new = {"t1": cases[0]["t1"], "t2": list(30 * np.array(new["t2"]))}
    told = unlikeness(cases, new, 2)
    assert told["modalities"] == ["t2"]
    assert "above all t2, is unlike" in warning(told)[0]


def test_a_picture_whose_colours_are_all_unlike_is_told_as_one():
    told = {"odd": True, "share": 1.0, "cases": 60, "modalities": [*COLOURS, "t2"], "aspects": []}
    assert "This scan, above all colours, t2, is unlike" in warning(told)[0]
    assert "above all red, t2, is" in warning({**told, "modalities": ["red", "t2"]})[0]


def test_cases_without_an_image_say_nothing_of_scans_that_have_it():
    rng = np.random.default_rng(0)
    *cases, new = drawn(rng, 30, ("t1", "t2"))
    few = [one if place < LEAST - 1 else {"t1": one["t1"]} for place, one in enumerate(cases)]
    assert unlikeness(few, new, 2) == {"cases": LEAST - 1}
    assert not warning({"cases": LEAST - 1})
    assert unlikeness(few, {"t1": new["t1"]}, 2)["cases"] == 29
    assert unlikeness(few, {"t3": new["t1"]}, 2) == {"cases": 0}


def test_a_model_remembers_some_hundreds_at_most():
    cases = [{"a": [float(place)]} for place in range(1000)]
    kept = [one["a"][0] for one in remembered(cases)]
    assert len(kept) == len(set(kept)) == MOST
    assert kept == sorted(kept)
    assert remembered(cases[:7]) == cases[:7]
