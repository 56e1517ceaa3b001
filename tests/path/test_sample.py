"""Patches depend on seed and step alone; what lies outside the scan has no weight."""

import numpy as np
import pytest
import torch

from oncoseg import phantom
from oncoseg.prepare import open_store, prepare
from oncoseg.sample import Sampler, stream


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    """Over four small patients, patches larger than some scans."""
    folder = tmp_path_factory.mktemp("world")
    task, cases = phantom.world(1, 4, size=20)
    for case in cases:
        phantom.write(case, folder / "data", layout="folders")
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
    small = np.mean([balanced._choose(rng)[0] == 0 for _ in range(800)])
    assert small == pytest.approx(0.5, abs=0.06)
