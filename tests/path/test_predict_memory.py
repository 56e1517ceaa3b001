"""Prediction row by row gives what whole arrays give, in memory or on disk, or refuses."""

import importlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from grids import ORIENTATIONS, oriented
from oncoseg import memory, results
from oncoseg.case import Case, Task, Volume
from oncoseg.errors import BadData, BadOption
from oncoseg.predict import predict
from oncoseg.predict.load import Disk, Load, lane
from oncoseg.predict.native import Confidence, Native, background
from oncoseg.predict.scan import Scan, Segmenter
from oncoseg.predict.window import slide, stream
from oncoseg.prepare.align import Relation, align, resample, subgrid, working_grid
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.threads import started
from runs import toy_data

EXCLUSIVE = Task("e", ("a",), {"x": 3, "y": 7, "z": 1}, {name: (name,) for name in "xyz"})
NESTED = Task(
    "n",
    ("a",),
    {"NCR": 1, "ED": 2, "ET": 4},
    {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
)
SMALL = replace(EXCLUSIVE, patch=(8, 8, 8), strides=((2, 2, 2),))
THREADS = started(2)
PLAN = Plan(replace(SMALL, spacing=(1.5,) * 3), {"a": Normalisation()})


def smooth(shape, outputs, seed, sigma=2):
    """Logits (outputs, *shape) that change over some voxels."""
    noise = np.random.default_rng(seed).normal(size=(outputs, *shape))
    return 40 * ndimage.gaussian_filter(noise, [0, *[sigma] * len(shape)]).astype(np.float32)


def network(image, present):
    """Logits of four classes that differ by place and brightness."""
    return np.concatenate([np.sin(k * image) * (k + 1) for k in range(4)], axis=1)


def case(shape=(30, 26, 34), **changes):
    grid = oriented(shape, (1.0, 1.2, 2.0), (2, 0, 1), (1, -1, -1), tilt=0.1)
    array = smooth(shape, 1, 3)[0]
    array[:6] = array.min()  # air
    return Case("c", "c", {"a": Volume(array, grid, Path("a.nii.gz"))}, **changes)


def on_border(relation, source, target):
    """Voxels of the target whose centres lie, but for rounding, where the source ends."""
    index = np.einsum("ij,j...->i...", relation.linear, np.indices(target).astype(float))
    index += relation.shift[:, None, None, None]
    ends = np.array(
        [[-relation.border, source[axis] - 1 + relation.border] for axis in relation.axes]
    )
    return (np.abs(index[:, None] - ends[:, :, None, None, None]) < 1e-6).any((0, 1))


@settings(max_examples=25, deadline=None)
@example(
    orientation=((1, 0, 2), (1, 1, 1)),
    spacing=(1.0, 2.9, 0.7),
    plan=(0.9, 1.3, 2.1),
    task=EXCLUSIVE,
    axis=0,
    rows=1,
    kept=True,
)
@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.sampled_from([0.7, 1.0, 2.9])] * 3),
    st.sampled_from([(), (0.9, 1.3, 2.1)]),
    st.sampled_from([EXCLUSIVE, NESTED]),
    st.integers(0, 2),
    st.integers(1, 7),
    st.booleans(),
)
def test_rows_give_the_labels_that_whole_classes_give(
    orientation, spacing, plan, task, axis, rows, kept
):
    grid = oriented((14, 17, 12), spacing, *orientation, tilt=0.2)
    work = working_grid(subgrid(grid, (slice(1, 13), slice(2, 17), slice(0, 11))), plan)
    values = smooth(work.shape, task.outputs, rows)
    seen = np.random.default_rng(rows).random(work.shape) > 0.05
    whole = np.where(seen, values, background(task)[:, :, None, None])
    outside = background(task)[:, 0]
    native = np.stack(
        [resample(row, work, grid, outside=value) for row, value in zip(whole, outside)]
    )
    probability = np.zeros((3, *grid.shape), np.float16) if kept else None
    relation = Relation.between(work, grid)
    shapes = work.shape, grid.shape
    made = Native(task, relation, *shapes, axis, threads=THREADS, kept=probability)
    turned = np.moveaxis(np.moveaxis(values, 1 + axis, 0), 1, 1)
    for first in range(0, work.shape[axis], rows):
        piece = slice(first, first + rows)
        made.add(turned[piece].copy(), np.moveaxis(seen, axis, 0)[piece])
    off = ~on_border(relation, *shapes)
    assert np.mean((made.label != task.decode(native)) & off) <= 1e-3  # ties
    if kept:
        apart = np.abs(probability - task.probabilities(native)) > 2e-3
        assert np.mean(apart & off) <= 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_windows_down_any_axis_blend_to_the_same(axis):
    image = smooth((19, 11, 23), 1, 0)
    whole = slide(network, image, image > -99, (8, 6, 10))
    rows = stream(network, image, image > -99, (8, 6, 10), axis=axis)
    found = np.moveaxis(np.concatenate(list(rows)), [0, 1], [1 + axis, 0] if axis else [1, 0])
    assert np.allclose(found, whole, atol=1e-5)


def test_labels_are_the_same_with_sums_on_disk_and_without_probabilities(tmp_path, monkeypatch):
    scan = Scan.of(case(), PLAN)
    plain = Segmenter(PLAN, network)(scan)
    told = []
    tight = Segmenter(
        PLAN, network, keep=False, folder=tmp_path, tell=lambda *said: told.append(said)
    )
    monkeypatch.setattr(Segmenter, "room", property(lambda self: self.base + 1))
    monkeypatch.setattr(Load, "most", property(lambda self: 0 if self.disk else 2))
    found = tight(scan)
    assert told[0][1].disk
    assert np.array_equal(found.label, plain.label)
    assert len(np.unique(found.label)) == 4
    assert found.probability.shape == (0, *scan.grid.shape)
    assert found.confidence == plain.confidence
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused_with_what_it_takes():
    segmenter = Segmenter(PLAN, network, limit=1)
    with pytest.raises(BadData, match=r"case c: takes [\d.]+ .B of .* there are 1 MB; allow"):
        segmenter(Scan.of(case(), PLAN))


def test_windows_of_air_are_inferred_once_and_absent_ones_never():
    seen = []

    def counting(image, present):
        seen.append((bool(present.any()), float(np.ptp(image))))
        return network(image, present)

    shape = (40, 16, 16)
    grid = oriented(shape, (1.0,) * 3, (0, 1, 2), (-1, -1, 1))
    array = smooth(shape, 1, 5)[0]
    plan = Plan(SMALL, {"a": Normalisation("dataset", -5, 5)})
    scan = Scan.of(Case("c", "c", {"a": Volume(array, grid, Path("a"))}), plan)
    scan.aligned.image[:, :16] = -5
    scan.aligned.image[:, 32:], scan.aligned.present[:, 32:] = 0, False
    found = Segmenter(plan, counting, overlap=0)(scan)
    assert all(there for there, _ in seen)
    assert len([spread for _, spread in seen if spread == 0]) == 1
    assert len(seen) == 1 + 2 * 4
    everywhere = slide(network, scan.aligned.image, scan.aligned.present, SMALL.patch, overlap=0)
    everywhere[:, ~scan.aligned.present[0]] = background(SMALL)
    whole = [resample(row, scan.aligned.grid, scan.grid) for row in everywhere]
    assert np.array_equal(found.label, SMALL.decode(np.stack(whole)))


def test_the_confidence_of_rows_is_that_of_probabilities_on_one_grid():
    for task in (EXCLUSIVE, NESTED):
        logits = smooth((9, 8, 7), task.outputs, 1, sigma=1).reshape(task.outputs, -1)
        label, sums = task.decode(logits), Confidence(task)
        sums.add(logits[:, :200], label[:200])
        sums.add(logits[:, 200:], label[200:])
        probability, masks = task.probabilities(logits), task.masks(label)
        for (name, mask), chance in zip(masks.items(), probability):
            expected = 2 * chance[mask].sum() / (chance.sum() + mask.sum())
            assert sums.values(1.0)[name] == pytest.approx(expected, abs=2e-4)


def test_resampling_by_slabs_is_resampling_at_once(monkeypatch):
    module = importlib.import_module("oncoseg.prepare.align")
    grid = oriented((21, 30, 17), (1.0, 0.7, 2.5), (1, 2, 0), (1, -1, 1), tilt=0.1)
    array = smooth(grid.shape, 1, 2)[0]
    for spacing in ((0.8,) * 3, (2.3, 1.0, 4.0)):
        there = working_grid(grid, spacing)
        whole = resample(array, grid, there)
        monkeypatch.setattr(module, "SLAB", 4000)
        assert np.allclose(resample(array, grid, there), whole, atol=1e-4)
        monkeypatch.undo()


def test_a_disk_without_room_is_one_sentence(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Disk, "_reserve", staticmethod(full))
    with pytest.raises(BadData, match="has no room for 4 MB"):
        Disk(tmp_path).zeros((1000, 1000))
    assert list(tmp_path.iterdir()) == []


def test_arrays_on_disk_keep_what_was_written(tmp_path):
    disk = Disk(tmp_path)
    array = disk.zeros((50, 1000))
    array[7] = 3
    disk.release()
    assert array.sum() == 3000
    assert not array[6].any()


@pytest.mark.parametrize(
    ("text", "count"), [("4GB", 4 * 10**9), ("500 mb", 5 * 10**8), ("1.5GiB", 3 << 29), ("7", 7)]
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert memory.size(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4 potatoes", "infGB", "0"])
def test_other_sizes_are_refused(text):
    with pytest.raises(BadOption, match="no size of memory"):
        memory.size(text)


def test_windows_go_down_the_axis_of_the_smallest_sums_where_these_are_large():
    assert lane((300, 300, 1000), (64, 64, 64), 118) == 2
    assert lane((60, 60, 1000), (64, 64, 64), 3) == 0


def test_a_batch_is_read_ahead_and_its_records_say_what_it_took(tmp_path, monkeypatch):
    task, cases = toy_data(tmp_path / "scans", 3, 3, size=16)

    class Opened:
        plan = Plan(
            replace(task, patch=(8, 8, 8)), {name: Normalisation() for name in task.modalities}
        )
        card, described, maps, path = {}, {"name": "stand-in", "sha256": "0"}, (), Path("m.onco")
        posthoc = {}
        unlikeness = staticmethod(lambda scan: {})

    Opened.task = Opened.plan.task
    threads = []

    def reading(case, plan):
        threads.append(threading.current_thread().name)
        return align(case, plan)

    def infer(image, present):
        return np.repeat(image[:, :1], task.outputs, axis=1)

    monkeypatch.setattr("oncoseg.predict.open_model", lambda model: Opened)
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *options: infer)
    monkeypatch.setattr("oncoseg.predict.scan.align", reading)
    said = []
    outcome = predict("m", tmp_path / "scans", to=tmp_path / "out", say=said.append)
    assert [path.stem for path in outcome.done] == sorted(each.id for each in cases)
    assert threads[0] == "MainThread"
    assert all(name.startswith("ThreadPool") for name in threads[1:])
    assert "takes at most" in said[0]
    for path in outcome.done:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert set(record["stages"]) == {"read", "infer", "resample", "write"}
        assert record["seconds"] == pytest.approx(sum(record["stages"].values()), abs=0.01)
        assert set(record["confidence"]) == set(task.regions)
        if memory.peak():
            assert 0 < record["peak_mb"] <= memory.peak() / 1e6 + 1
    refused = predict("m", tmp_path / "scans", to=tmp_path / "small", memory="1MB")
    assert len(refused.failed) == 3
    assert results.find(tmp_path / "small") == {}
