"""Windows that blend, predictions on the scan's own grid, batches in which a bad case is one."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grids import ORIENTATIONS, oriented
from oncoseg import results
from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.blocks.surface import bounds
from oncoseg.case import Case, Task, Volume
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.predict import predict, segment, validated
from oncoseg.predict.window import gaussian, slide, starts
from oncoseg.prepare.plan import Normalisation, Plan
from runs import toy_data

TASK = Task("t", ("a", "b"), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (8, 8, 8), ((2, 2, 2),))
NESTED = Task(
    "n",
    ("a",),
    {"NCR": 1, "ED": 2, "ET": 4},
    {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
)


def bright(image, present):
    """A 'network' that calls whatever is bright in the first modality a tumour."""
    score = 10 * (image[:, :1] - 1)
    return np.concatenate([-score, score], axis=1)


@given(st.integers(1, 300), st.integers(1, 80), st.floats(0, 0.9))
def test_windows_cover_and_overlap_by_what_was_asked(size, patch, overlap):
    first = starts(size, patch, overlap)
    assert first[0] == 0
    assert first[-1] == max(0, size - patch)
    most = max(1, patch * (1 - overlap) + 1e-6)
    assert all(0 < after - before < most + 1 for before, after in pairwise(first))
    assert max(0, size - patch) <= most * (len(first) - 1)  # before they are rounded


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_an_overlap_that_leaves_gaps_or_never_ends_is_refused(overlap):
    image = np.zeros((1, 9, 9), np.float32)
    with pytest.raises(BadOption, match="from 0 to below 1"):
        slide(lambda i, p: i, image, image > 0, (4, 4), overlap=overlap)


def test_a_constant_network_is_constant():
    image = np.random.default_rng(0).normal(size=(2, 11, 19, 8)).astype(np.float32)
    found = slide(
        lambda i, p: np.full((1, 3, *i.shape[2:]), 2.5, np.float32), image, image > -9, (8, 8, 8)
    )
    assert found.shape == (3, 11, 19, 8)
    assert np.allclose(found, 2.5, atol=1e-5)


def test_a_small_scan_lies_in_the_middle_of_its_patch_as_in_training():
    """Networks learn where the air begins: at another place they were worse by points of Dice."""
    sample = pytest.importorskip("oncoseg.sample")
    seen, shape, patch = [], (5, 9, 6), (8, 8, 8)

    def infer(image, present):
        seen.append(bounds(present[0, 0]))
        return image[:, :1]

    image = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    assert np.allclose(slide(infer, image, np.ones(image.shape, bool), patch), image, atol=1e-6)
    trained = sample._box(SimpleNamespace(shape=shape), patch, None, np.random.default_rng(0))
    for box in seen:
        assert [box[axis].start for axis in (0, 2)] == [-trained[axis] for axis in (0, 2)] == [1, 1]


def test_windows_and_weights_are_those_of_nnunet():
    """Its own figures for sizes that show the rounding: odd patches, even patches, corners."""
    assert starts(110, 64, 0.5) == [0, 23, 46]
    assert starts(20, 5, 0.5) == [0, 2, 5, 8, 10, 12, 15]
    weight = gaussian((40, 9))
    assert weight[20, 4] == weight.max() == 1
    assert weight[0, 0] == weight.min() > 1e-7
    assert (
        gaussian((40, 40, 40)).min() == np.float32(np.nextafter(np.float16(0), np.float16(1))) / 10
    )
    assert np.allclose(weight[10, 4], np.exp(-2), rtol=1e-3)
    assert weight[19, 4] == weight[21, 4] > weight[18, 4]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.sampled_from([1.0, 1.7, 3.0])] * 3))
def test_results_lie_on_the_scans_own_grid(orientation, spacing):
    grid = oriented((20, 21, 22), spacing, *orientation, tilt=0.1)
    array = np.random.default_rng(0).normal(0, 0.05, grid.shape)
    block = (slice(5, 11), slice(6, 14), slice(3, 9))
    array[block] += 5
    plan = Plan(
        replace(TASK, spacing=tuple(np.array(spacing)[list(np.argsort(orientation[0]))])),
        {name: Normalisation() for name in "ab"},
    )
    found = segment(Case("c", "c", {"a": Volume(array, grid, Path("a"))}), plan, bright)
    expected = np.zeros(grid.shape, np.uint8)
    expected[block] = 1
    assert found.grid.same_as(grid)
    assert np.array_equal(found.label, expected)
    assert found.used == ("a",)
    assert found.missing == ("b",)
    assert "b was not given" in found.notes[0]


def test_a_coarser_plan_still_gives_the_volume():
    grid = oriented((40, 40, 40), (1.0,) * 3, (0, 1, 2), (-1, -1, 1))
    array = np.random.default_rng(0).normal(0, 0.05, grid.shape)
    array[10:26, 12:24, 8:30] += 5
    plan = Plan(replace(TASK, spacing=(2.0,) * 3), {name: Normalisation() for name in "ab"})
    label = segment(Case("c", "c", {"a": Volume(array, grid, Path("a"))}), plan, bright).label
    assert label.sum() == pytest.approx(16 * 12 * 22, rel=0.12)


def test_logits_that_are_no_numbers_are_refused_not_called_background():
    grid = oriented((9, 9, 9), (1.0,) * 3, (0, 1, 2), (1, 1, 1))
    case = Case("c", "c", {"a": Volume(np.arange(729.0).reshape(9, 9, 9), grid, Path("a"))})
    plan = Plan(TASK, {name: Normalisation() for name in "ab"})

    def broken(image, present):
        logits = bright(image, present)
        logits[0, 1, 3, 3, 3] = np.nan
        return logits

    with pytest.raises(BadData, match="case c: the model gives values that are no numbers"):
        segment(case, plan, broken)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 30)] * 2),
    st.tuples(*[st.integers(1, 12)] * 2),
    st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_blending_a_pointwise_network_is_that_network(shape, patch, overlap):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    seen = []

    def pointwise(part, present):
        seen.append(part.shape[2:])
        assert present.shape == part.shape
        return part * 3 - 1

    found = slide(pointwise, image, image > -9, patch, overlap=overlap)
    assert np.allclose(found, image * 3 - 1, atol=1e-4)
    assert set(seen) == {patch}


@given(st.integers(0, 1000))
def test_regions_come_out_nested(seed):
    logits = np.random.default_rng(seed).normal(0, 3, (3, 4, 4, 4)).astype(np.float32)
    masks = NESTED.masks(NESTED.decode(logits))
    assert not (masks["ET"] & ~masks["TC"]).any()
    assert not (masks["TC"] & ~masks["WT"]).any()
    sure = np.abs(logits).min(0) > 0
    agree = (logits[0] > 0) & (logits[1] > 0) & (logits[2] > 0) & sure
    assert (NESTED.decode(logits)[agree] == 4).all()
    assert (NESTED.decode(logits)[(logits < 0).all(0)] == 0).all()


def test_exclusive_classes_take_the_largest():
    task = Task("e", ("a",), {"x": 3, "y": 7}, {"x": ("x",), "y": ("y",)})
    logits = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    assert np.array_equal(task.decode(logits), np.array([0, 3, 7])[logits.argmax(0)])
    assert np.allclose(
        task.probabilities(logits).sum(0) + 1 / (1 + np.exp(logits[1:] - logits[0]).sum(0)), 1
    )


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Three cases on disk, one cut in half, and a model that needs no training."""
    task, cases = toy_data(tmp_path / "scans", 3, 3, size=16)
    name = task.modalities[0]
    bad = next((tmp_path / "scans" / cases[1].id).glob(f"{name}_image*"))
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])

    class Opened:
        plan = Plan(
            replace(task, patch=(8, 8, 8)), {name: Normalisation() for name in task.modalities}
        )
        card = {
            "dice_by_modalities": {"a": {"x": 0.71}, "b": {"x": 0.01}},
            "validation": {"dice": {"c1": 0.64, "gone": 0.1}, "cases": 30},
        }
        described = {"name": "stand-in", "sha256": "0"}
        maps = ()
        posthoc = {}
        unlikeness = staticmethod(lambda scan: {})

    Opened.task = Opened.plan.task

    def infer(image, present):
        return (
            np.random.default_rng(0).normal(size=(1, task.outputs, *image.shape[2:])).astype("f4")
        )

    monkeypatch.setattr("oncoseg.predict.open_model", lambda model: Opened)
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *options: infer)
    return [case.id for case in cases], bad, tmp_path


def test_a_bad_case_is_named_and_the_rest_finish(batch):
    names, bad, folder = batch
    outcome = predict("model", folder / "scans", to=folder / "out")
    assert [path.stem for path in outcome.done] == [names[0], names[2]]
    assert list(outcome.failed) == [names[1]]
    assert bad.name in outcome.failed[names[1]]
    assert not list((folder / "out").glob(f"*{names[1]}*"))
    assert sorted(results.find(folder / "out")) == [names[0], names[2]]


def test_a_full_disk_leaves_nothing_of_the_case(batch, monkeypatch):
    names, _, folder = batch
    write = results.write_volume

    def full(path, array, grid):
        if "probability" in path.name:
            raise BadFile(path, "could not be written (No space left on device)", "free some space")
        return write(path, array, grid)

    monkeypatch.setattr("oncoseg.results.write_volume", full)
    outcome = predict("model", folder / "scans", to=folder / "out", probabilities=True)
    assert sorted(outcome.failed) == sorted(names)
    assert "No space left" in outcome.failed[names[0]]
    assert not list((folder / "out").iterdir())


def test_a_subset_on_which_the_model_failed_is_refused_and_a_weak_one_is_noted(batch):
    names, _, folder = batch
    for name, gone in ((names[0], "b"), (names[2], "a")):
        for path in (folder / "scans" / name).glob(f"{gone}_*"):
            path.unlink()
    outcome = predict("model", folder / "scans", to=folder / "out")
    assert (
        "from which this model cannot segment (Dice in validation: x 0.01)"
        in outcome.failed[names[2]]
    )
    prediction, _ = results.load(results.find(folder / "out")[names[0]])
    assert "validation with these modalities: x 0.71" in prediction.notes[-1]


def test_what_held_out_cases_had_is_told_of_a_scan_with_all_modalities(batch):
    names, _, folder = batch
    predict("model", folder / "scans", to=folder / "out")
    prediction, _ = results.load(results.find(folder / "out")[names[0]])
    said = "Mean Dice in the model's validation, 30 held-out cases: c1 0.64."
    assert prediction.notes.count(said) == 1


@pytest.mark.parametrize("said", [None, {}, {"dice": 1}, {"dice": {"x": "1"}, "cases": 3}, [1]])
def test_a_card_without_figures_of_held_out_cases_says_nothing(said):
    task = Task("t", ("a",), {"x": 1}, {"x": ("x",)})
    model = SimpleNamespace(card={"validation": said}, task=task, posthoc={})
    case = SimpleNamespace(id="c", images={"a": None})
    assert validated(case, model) == ()


def test_a_changed_label_map_is_refused(batch):
    names, _, folder = batch
    predict("model", folder / "scans", to=folder / "out", probabilities=True)
    record = results.find(folder / "out")[names[0]]
    prediction, content = results.load(record)
    assert prediction.case == names[0]
    assert content["notice"].startswith("For research use only")
    label = folder / "out" / f"{names[0]}.nii.gz"
    label.write_bytes(label.read_bytes()[:-9])
    with pytest.raises(BadFile, match="checksum differs"):
        results.load(record)


def test_confidence_is_the_dice_expected_of_calibrated_probabilities():
    grid = oriented((2, 2, 2), (1.0,) * 3, (0, 1, 2), (1, 1, 1))
    case = Case("c", "c", {"a": Volume(np.arange(8.0).reshape(2, 2, 2), grid, Path("a"))})
    plan = Plan(replace(TASK, patch=(2, 2, 2)), {name: Normalisation() for name in "ab"})
    found = segment(case, plan, bright)
    probability = np.zeros((1, 2, 2, 2), dtype=np.float16)
    probability[0, 0] = 0.5
    label = np.zeros((2, 2, 2), np.uint8)
    label[0, 0] = 1  # two voxels, each probable to 1/2; four such voxels in all: 2 * 1 / (2 + 2)
    changed = found.but(label=label, probability=probability, confidence={})
    assert expected_dice(changed) == {"x": 0.5}
