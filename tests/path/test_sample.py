"""Patches depend on seed and step alone; what lies outside the scan has no weight."""

import numpy as np
import pytest
import torch

from oncoseg import phantom
from oncoseg.errors import BadData
from oncoseg.prepare import open_store, prepare
from oncoseg.sample import Sampler, stream
from runs import toy_data


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    """Over four small patients, patches larger than some scans."""
    folder = tmp_path_factory.mktemp("world")
    task, _ = toy_data(folder / "data", 1, 4, size=20)
    prepare(folder / "data", folder / "store", labels=task.labels, regions=task.regions)
    return Sampler(open_store(folder / "store"), task, (16, 16, 24), 3, seed=5)


def same(first, second):
    names = ("image", "present", "label", "weight", "labeled")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_seed_and_step_decide(sampler):
    assert same(sampler(3), sampler(3))
    assert not same(sampler(3), sampler(4))


def test_a_stream_is_the_same_from_any_start(sampler):
    ahead = dict(stream(sampler, 2, 9, workers=3))
    assert list(ahead) == list(range(2, 9))
    assert all(same(batch, sampler(step)) for step, batch in ahead.items())


def test_padding_is_neither_present_nor_weighed(sampler):
    batch = sampler(0)
    outside = batch.weight[:, 0] == 0
    assert outside.any()
    assert not batch.present.movedim(1, -1)[outside].any()
    assert not batch.image.movedim(1, -1)[outside].any()
    inside = batch.weight[:, 0] == 1
    assert torch.allclose(batch.label.sum(1)[inside], torch.ones(1), atol=0.01)


def test_the_first_patch_of_a_batch_holds_foreground(sampler):
    found = [float(sampler(step).label[0, 1:].amax()) for step in range(30)]
    assert np.mean(np.array(found) > 0.5) == 1


def test_balanced_sites_are_seen_equally_often(sampler):
    records = [
        dict(case.record, site="big" if place else "small")
        for place, case in enumerate(sampler.cases)
    ]
    cases = [type(case)(case.folder, record) for case, record in zip(sampler.cases, records)]
    balanced = Sampler(cases, sampler.task, (8, 8, 8), 1, balanced=True)
    rng = np.random.default_rng(0)
    small = np.mean([balanced._chosen(rng)[0] == 0 for _ in range(800)])
    assert small == pytest.approx(0.5, abs=0.06)


class Rare:
    """A large case with one voxel of lesion, without files."""

    shape, labeled, record, boxes, weighted = (64, 64, 64), True, {}, None, False
    points = {"x": np.array([[40, 3, 63]]), "y": np.zeros((0, 3), int)}

    @staticmethod
    def known(task):
        return task.regions

    @staticmethod
    def read(name, box):
        size = tuple(piece.stop - piece.start for piece in box)
        label = np.zeros((2, *size), np.uint8)
        offset = [place - piece.start for place, piece in zip((40, 3, 63), box)]
        if all(0 <= place < length for place, length in zip(offset, size)):
            label[(1, *offset)] = 255
        return {"image": label, "present": label > -1, "label": label}[name]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.5, 0.625), (1.0, 1.0)])
def test_the_share_of_patches_with_foreground_is_what_was_asked(share, expected):
    task, _ = phantom.world(0, 1, classes=2)
    draw = Sampler([Rare()], task, (8, 8, 8), 4, foreground=share)
    held = np.stack([draw(step).label[:, 1].flatten(1).amax(1) for step in range(200)])
    assert held.mean() == pytest.approx(expected, abs=0.04)  # by chance alone: 0.002
    assert held[:, 0].mean() >= (share > 0)


def test_a_lesion_is_seen_at_many_places_of_the_patch():
    task, _ = phantom.world(0, 1, classes=2)
    draw = Sampler([Rare()], task, (16, 16, 16), 1, foreground=1.0)
    first = {int(draw(step).label[0, 1].argmax()) // 256 for step in range(60)}
    assert first == set(range(4, 13))


def hidden(sampler, labelled):
    """The sampler's cases with the labels of all but the first few hidden."""
    return [case.but(labeled=place < labelled) for place, case in enumerate(sampler.cases)]


def test_methods_that_need_labels_alone_see_labelled_cases_alone(sampler):
    draw = Sampler(hidden(sampler, 1), sampler.task, (16, 16, 16), 3)
    assert draw._chosen(np.random.default_rng(0)) == [0, 0, 0]
    assert draw(0).labeled.all()
    with pytest.raises(
        BadData, match="no training case is labelled, which this method needs; give"
    ):
        Sampler(hidden(sampler, 0), sampler.task, (16, 16, 16), 3)


def test_methods_that_need_both_see_half_of_each_labelled_first(sampler):
    both = ("labeled", "unlabeled")
    draw = Sampler(hidden(sampler, 2), sampler.task, (16, 16, 16), 4, needs=both)
    batch = draw(0)
    assert batch.labeled.tolist() == [True, True, False, False]
    assert not batch.label[2:].any()
    assert batch.weight[2:].any()
    with pytest.raises(
        BadData, match="unlabelled, which this method needs; add scans without labels"
    ):
        Sampler(sampler.cases, sampler.task, (16, 16, 16), 4, needs=both)


def test_methods_that_need_no_labels_are_shown_none(sampler):
    batch = Sampler(sampler.cases, sampler.task, (16, 16, 16), 4, needs=())(0)
    assert not batch.labeled.any()
    assert not batch.label.any()
    assert batch.weight.any()


def test_only_annotated_boxes_have_weight_and_are_aimed_at(sampler):
    box = [[2, 3, 4], [9, 8, 11]]
    cases = [case.but(boxes=[box]) for case in sampler.cases]
    for case in cases:
        for points in case.points.values():
            assert ((points >= box[0]) & (points < box[1])).all()
    shape = cases[0].shape
    batch = Sampler(cases[:1], sampler.task, shape, 1)(0)
    expected = torch.zeros(shape)
    expected[2:9, 3:8, 4:11] = 1
    assert torch.equal(batch.weight[0, 0], expected)


def test_many_threads_read_what_one_reads(sampler):
    ahead = dict(stream(sampler, 0, 60, workers=8))
    assert all(same(batch, sampler(step)) for step, batch in ahead.items())


def test_a_stream_that_is_closed_stops_reading(sampler):
    calls = []

    def counted(step):
        calls.append(step)
        return sampler(step)

    batches = stream(counted, 0, 10**6, workers=2)
    assert next(batches)[0] == 0
    batches.close()
    assert len(calls) <= 6
    assert list(stream(sampler, 5, 5)) == []
