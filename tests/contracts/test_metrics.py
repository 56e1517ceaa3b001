"""What every metric must keep to, and a table of edge cases worked out by hand."""

import math

import numpy as np
import pytest
from scipy import ndimage

from edges import GOLDEN, PAGE, PAIRS, SPACING, mask, page
from oncoseg import build
from oncoseg.errors import BadData
from oncoseg.registry import entries

NAMES = [entry.name for entry in entries("metrics") if not entry.needs]
CLAIMS = [entry.name for entry in entries("metrics") if entry.needs]
SPACINGS = {2: (2.0, 3.0), 3: SPACING}
every = pytest.mark.parametrize("name", NAMES)
both = pytest.mark.parametrize("dims", [2, 3])


def blobs(dims, seed=0):
    """A truth of two lesions, and a prediction that shifts one and misses the other."""
    generator = np.random.default_rng(seed)
    truth = np.zeros((14, 12, 10)[:dims], bool)
    truth[(slice(2, 6),) * dims] = True
    prediction = np.roll(truth, 1, axis=0)
    prediction[(slice(3, 5),) * dims] = generator.random((2,) * dims) > 0.3
    truth[(slice(8, 9),) * dims] = True
    return prediction, truth


def best(metric):
    return 1.0 if metric.higher else 0.0


@every
@both
def test_a_mask_against_itself_is_the_best(name, dims):
    metric = build("metrics", name)
    truth = blobs(dims)[1]
    assert metric(truth.copy(), truth, SPACINGS[dims]) == best(metric)


@every
@both
def test_a_wrong_mask_is_worse_and_within_the_bounds(name, dims):
    metric = build("metrics", name)
    prediction, truth = blobs(dims)
    prediction[(-1,) * dims] = True
    value = metric(prediction, truth, SPACINGS[dims])
    low, high = sorted((best(metric), metric.worst))
    assert isinstance(value, float)
    assert low <= value <= high
    assert value != best(metric)


@every
@both
def test_symmetric_where_it_says_so(name, dims):
    metric = build("metrics", name)
    prediction, truth = blobs(dims)
    there, back = (
        metric(*masks, SPACINGS[dims]) for masks in [(prediction, truth), (truth, prediction)]
    )
    if "symmetric" in type(metric).__doc__:
        assert there == pytest.approx(back, abs=1e-12)
    else:
        # One lesion drawn over two: whichever side is called the truth must make a difference.
        apart = truth.copy()
        over = np.ones_like(truth)
        over[(slice(10, None),) * dims] = False
        swapped = [metric(*masks, SPACINGS[dims]) for masks in [(over, apart), (apart, over)]]
        assert (there, swapped[0]) != pytest.approx((back, swapped[1]))


@every
@both
def test_twice_the_spacing_scales_lengths_and_volumes_alone(name, dims):
    metric = build("metrics", name)
    prediction, truth = blobs(dims)
    # Lengths here are all above twice the default tolerance, so nsd stays what it is.
    spacing = np.array(SPACINGS[dims]) * 3
    once, twice = (metric(prediction, truth, tuple(scale * spacing)) for scale in (1, 2))
    assert twice == pytest.approx({"mm": 2, "ml": 2**dims}.get(metric.unit, 1) * once)


@every
@both
def test_nothing_given_is_changed(name, dims):
    prediction, truth = blobs(dims)
    prediction.flags.writeable = truth.flags.writeable = False
    metric = build("metrics", name)
    first = metric(prediction, truth, SPACINGS[dims])
    assert metric(prediction, truth, SPACINGS[dims]) == first
    turned = [np.asfortranarray(each) for each in (prediction, truth)]
    assert metric(*turned, SPACINGS[dims]) == pytest.approx(first, abs=1e-12)


KNOW_INSTANCES = [name for name in NAMES if type(build("metrics", name)).instances]


@pytest.mark.parametrize("name", KNOW_INSTANCES)
@both
def test_instance_maps_of_components_are_what_masks_are(name, dims):
    metric, spacing = build("metrics", name), SPACINGS[dims]
    for masks in (blobs(dims), blobs(dims)[::-1]):
        maps = [ndimage.label(mask, np.ones((3,) * dims))[0] for mask in masks]
        expected = metric(*masks, spacing)
        assert metric(*maps, spacing) == expected
        renamed = [(one > 0) * (9 * (one.max() + 1 - one)).astype(np.uint16) for one in maps]
        assert metric(*renamed, spacing) == expected
    with pytest.raises(BadData, match="number instances from 1"):
        metric(-maps[0].astype(np.int16), maps[1], spacing)


@pytest.mark.parametrize("name", KNOW_INSTANCES)
def test_instances_that_touch_are_two(name):
    metric = build("metrics", name)
    truth = np.repeat([[1, 2]], 3, axis=1)
    assert metric(truth, truth, (1, 1)) == 1
    assert metric(np.sign(truth), truth, (1, 1)) < 1
    assert metric(truth > 0, truth > 0, (1, 1)) == 1


@every
@both
def test_only_the_truth_decides_whether_a_value_is_undefined(name, dims):
    """Else a model could raise its mean by what it predicts where nothing is."""
    metric = build("metrics", name)
    nothing = np.zeros((14, 12, 10)[:dims], bool)
    prediction, truth = blobs(dims)
    for true, possible in ((nothing, "truth is empty"), (truth, None), (~nothing, None)):
        values = [metric(p, true, SPACINGS[dims]) for p in (nothing, prediction, truth, ~nothing)]
        undefined = {math.isnan(value) for value in values}
        assert len(undefined) == 1
        if undefined == {True}:
            assert possible, "undefined although there is a truth"
            assert f"undefined if the {possible}" in metric.empty


ALONE = [name for name in NAMES if not type(build("metrics", name)).one_sided]
meaningful = pytest.mark.parametrize("name", ALONE)


@meaningful
@both
def test_missing_everything_is_never_better_than_finding_a_part(name, dims):
    metric = build("metrics", name)
    truth = blobs(dims)[1]
    part = truth.copy()
    part[(slice(8, 9),) * dims] = False
    missed, found = (metric(p, truth, SPACINGS[dims]) for p in (np.zeros_like(truth), part))
    assert missed < found if metric.higher else missed > found


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(ALONE)))
@both
def test_who_predicts_nothing_is_best_where_a_metric_is_one_sided(name, dims):
    metric = build("metrics", name)
    truth = blobs(dims)[1]
    assert metric(np.zeros_like(truth), truth, SPACINGS[dims]) == best(metric)
    assert "alone" in type(metric).__doc__


@meaningful
@both
def test_no_prediction_is_worse_than_the_limit(name, dims):
    """What a missing case counts as; undefined only where every prediction is."""
    metric = build("metrics", name)
    prediction, truth = blobs(dims)
    nothing = np.zeros_like(truth)
    for true in (nothing, truth, ~nothing):
        limit = metric.limit(true, SPACINGS[dims])
        values = [metric(p, true, SPACINGS[dims]) for p in (nothing, prediction, truth, ~nothing)]
        assert math.isnan(limit) == any(math.isnan(value) for value in values)
        assert math.isfinite(limit) or math.isnan(limit)
        for value in values:
            assert not (value < limit if metric.higher else value > limit)


@pytest.mark.parametrize("name", [*NAMES, *CLAIMS])
def test_the_rule_for_empty_masks_is_stated(name):
    assert build("metrics", name).empty


claims = pytest.mark.parametrize("name", CLAIMS)


@claims
@both
def test_of_probabilities_certain_truth_is_the_best_and_certain_mistakes_the_worst(name, dims):
    metric = build("metrics", name)
    assert metric.needs == ("probability",)
    spacing, (drawn, truth) = SPACINGS[dims], blobs(dims)
    right, wrong = truth.astype(np.float32), 1 - truth.astype(np.float32)
    assert metric(right, truth, spacing) == best(metric)
    worst = metric.limit(truth, spacing)
    assert metric(wrong, truth, spacing) == pytest.approx(worst, abs=1e-12)
    low, high = sorted((best(metric), worst))
    assert low < metric(drawn.astype(np.float32), truth, spacing) < high


@claims
@both
def test_of_probabilities_nothing_given_is_changed_and_no_order_counts(name, dims):
    truth = blobs(dims)[1]
    probability = np.random.default_rng(1).random(truth.shape).round(2)
    probability.flags.writeable = truth.flags.writeable = False
    metric = build("metrics", name)
    first = metric(probability, truth, SPACINGS[dims])
    assert metric(probability, truth, SPACINGS[dims]) == first
    turned = [np.asfortranarray(each) for each in (probability, truth)]
    assert metric(*turned, SPACINGS[dims]) == pytest.approx(first, abs=1e-12)
    mirrored = [each[::-1] for each in (probability, truth)]
    assert metric(*mirrored, SPACINGS[dims]) == pytest.approx(first, abs=1e-12)


@claims
@both
def test_of_probabilities_empty_masks_have_a_value(name, dims):
    metric = build("metrics", name)
    nothing = np.zeros((6, 5, 4)[:dims], bool)
    spacing = SPACINGS[dims]
    assert metric(nothing.astype(float), nothing, spacing) == best(metric)
    assert metric(nothing + 1.0, nothing, spacing) == pytest.approx(metric.limit(nothing, spacing))
    assert metric(nothing.astype(float), ~nothing, spacing) == pytest.approx(
        metric.limit(~nothing, spacing)
    )


@claims
def test_of_probabilities_what_is_none_is_refused(name):
    truth = np.zeros((3, 4), bool)
    for given in (truth, truth.astype(np.uint8), np.full((3, 4), 1.2), np.zeros((3, 1))):
        with pytest.raises(BadData, match="probability"):
            build("metrics", name)(given, truth, (1, 1))
    with pytest.raises(BadData, match="not above zero"):
        build("metrics", name)(np.zeros((3, 4)), truth, (1, 0))


@every
@pytest.mark.parametrize(
    ("prediction", "truth", "spacing", "sentence"),
    [
        (np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool), (1, 1), "uint8 and bool"),
        (np.zeros((3, 1), bool), np.zeros((3, 4), bool), (1, 1), r"\(3, 1\) and \(3, 4\)"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1, 1, 1), "2 dimensions with 3 spacings"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1, 0), "not above zero"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1, math.nan), "not above zero"),
    ],
)
def test_what_would_compare_silently_wrong_is_refused(name, prediction, truth, spacing, sentence):
    with pytest.raises(BadData, match=sentence):
        build("metrics", name)(prediction, truth, spacing)


@pytest.mark.parametrize(
    ("name", "case", "value"),
    [(name, case, v) for name, values in GOLDEN.items() for case, v in zip(PAIRS, values)],
)
def test_golden(name, case, value):
    metric, (prediction, truth) = build("metrics", name), PAIRS[case]
    given = prediction.astype(np.float32) if metric.needs else prediction
    assert metric(given, truth, SPACING) == pytest.approx(value, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", [*NAMES, *CLAIMS])
def test_every_metric_has_its_edge_cases_worked_out_by_hand(name):
    assert len(GOLDEN[name]) == len(PAIRS)
    empty = build("metrics", name).empty
    nothing = GOLDEN[name][: list(PAIRS).index("touching border")]
    assert any(math.isnan(value) for value in nothing) == (
        "undefined if the truth is empty" in empty
    )


def test_the_page_shows_the_table():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: make docs"


@pytest.mark.parametrize(("axis", "length"), [(0, 2.0), (1, 3.0)])
def test_golden_in_two_dimensions(axis, length):
    truth = mask((4, 4), (1, 1))
    prediction = np.roll(truth, 1, axis=axis)
    metrics = {name: build("metrics", name) for name in GOLDEN}
    values = {
        name: metric(prediction, truth, (2.0, 3.0))
        for name, metric in metrics.items()
        if not metric.needs
    }
    assert values["hd95"] == length
    assert values["nsd"] == 1 / 2  # 4 corners each, 2 of them shared
    assert values["dice"] == values["lesion_f1"] == values["panoptic_quality"] == 0
    assert values["hd"] == values["assd"] == length
    assert build("metrics", "volume_difference")(truth, ~truth, (2.0, 3.0)) == pytest.approx(
        14 * 6 / 1000
    )
