"""HeMIS: any subset of modalities, fused by mean and variance, in any order."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.subsets import coarser, mean_over, variance_over
from oncoseg.export import to_onnx
from worlds import lent, make_batch, ordered, regions_task, with_only

TASK = regions_task(2, 16)


def built(task=TASK, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", "hemis:width=4", task).eval()


def test_mean_and_unbiased_variance_are_taken_where_modalities_are():
    features = torch.tensor([[[1.0, 1.0, 1.0], [3.0, 9.0, 9.0], [8.0, 5.0, 9.0]]])
    there = torch.tensor([[[1, 1, 0], [1, 0, 0], [0, 1, 0]]])
    assert mean_over(features, there).tolist() == [[2.0, 3.0, 0.0]]
    assert variance_over(features, there).tolist() == [[2.0, 8.0, 0.0]]
    alone = torch.tensor([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]])
    assert not variance_over(features, alone).any()


@pytest.mark.parametrize("size", [7, 8])
def test_presence_shrinks_as_a_strided_convolution_does(size):
    there = torch.zeros(1, 1, size, size)
    there[..., 5, 2] = 1
    small = coarser(there, (2, 1))
    like = torch.nn.Conv2d(1, 1, 3, stride=(2, 1), padding=1)(there)
    assert small.shape == like.shape
    assert small.nonzero().tolist() == [[0, 0, 2, 2]]


def test_the_variance_of_one_modality_is_zero_at_every_level():
    network, batch = built(), make_batch(TASK)
    for level in network.encode(with_only(batch, {"t2"}, TASK)):
        mean, variance = level.chunk(2, dim=1)
        assert not variance.any()
        assert mean.any()
    assert all(level.chunk(2, dim=1)[1].any() for level in network.encode(batch))


@pytest.mark.parametrize("names", [("t1ce",), ("flair", "t1"), ("t1", "t1ce", "t2")])
def test_a_modality_that_is_absent_is_as_if_the_network_had_never_known_it(names):
    whole, batch = built(), make_batch(TASK)
    task = replace(TASK, modalities=names)
    fewer = lent(built(task, seed=1), whole)
    places = [TASK.modalities.index(name) for name in names]
    expected = fewer(ordered(batch, places))[0]
    assert torch.allclose(whole(with_only(batch, names, TASK))[0], expected, atol=1e-5)


def test_the_order_of_modalities_changes_nothing():
    places = [2, 0, 3, 1]
    task = replace(TASK, modalities=tuple(TASK.modalities[place] for place in places))
    network, batch = built(), make_batch(TASK)
    assert torch.allclose(
        lent(built(task, seed=1), network)(ordered(batch, places))[0], network(batch)[0], atol=1e-5
    )


def test_items_of_a_batch_may_have_different_modalities_and_voxels():
    network, batch = built(), make_batch(TASK)
    present = batch.present.clone()
    present[0, 1:] = False
    present[1, 0, :8] = False
    mixed = batch.but(present=present)
    for item in range(2):
        alone = network(mixed[[item]])[0]
        assert torch.allclose(network(mixed)[0][[item]], alone, atol=1e-5)
    assert not torch.allclose(network(mixed)[0], network(batch)[0], atol=1e-2)


def test_odd_sizes_and_uneven_strides_come_back_whole_and_are_exported():
    task = replace(regions_task(3, 9), strides=((1, 2, 2), (2, 2, 2)), patch=(5, 9, 11))
    network = built(task).half().float()
    assert network(make_batch(task))[0].shape[2:] == (5, 9, 11)
    assert to_onnx(network, task)


def test_nothing_present_at_all_gives_numbers():
    network, batch = built(), make_batch(TASK)
    assert torch.isfinite(network(with_only(batch, (), TASK))[0]).all()
