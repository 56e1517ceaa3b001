"""Swin UNETR: the published sizes, and windows that keep to themselves."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.windows import (
    FAR,
    SwinBlock,
    WindowAttention,
    apart,
    offsets,
    partition,
    reverse,
)
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch


@pytest.mark.parametrize(("width", "millions"), [(48, 62.192), (24, 15.706), (12, 4.079)])
def test_parameters_are_the_published_ones(width, millions):
    labels = {"a": 1, "b": 2, "c": 3}
    regions = {"WT": ("a", "b", "c"), "TC": ("a", "c"), "ET": ("c",)}
    names = ("t1", "t1ce", "t2", "flair")
    task = Task("t", names, labels, regions, (1.0,) * 3, (128,) * 3, ((2, 2, 2),) * 5)
    with torch.device("meta"):
        network = registry.build("networks", f"swin_unetr:width={width}", task)
    assert round(sum(value.numel() for value in network.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize(("shape", "window"), [((6, 4), (3, 2)), ((4, 6, 2), (2, 3, 2))])
def test_windows_come_back_to_their_places(shape, window):
    features = torch.randn(2, *shape, 5)
    windows = partition(features, window)
    assert windows.shape[1] == torch.tensor(window).prod()
    assert torch.equal(reverse(windows, window, shape), features)
    first = features[(0, *(slice(0, side) for side in window))].reshape(-1, 5)
    assert torch.equal(windows[0], first)


def test_a_bias_is_that_of_the_offset_alone():
    index = offsets((2, 3))
    assert index.shape == (6, 6)
    assert (index.diagonal() == index[0, 0]).all()
    assert index[0, 1] == index[1, 2] == index[3, 4]
    assert len(index.unique()) == 3 * 5


def test_shifted_windows_see_nothing_across_the_edge():
    mask = apart((4, 4), (2, 2), (1, 1))
    assert mask.shape == (4, 4, 4)
    assert not mask[0].any()
    assert (mask[-1] == FAR * (1 - torch.eye(4))).all()  # the corners of four sides of the image


@pytest.mark.parametrize("shifted", [False, True])
def test_what_is_in_another_window_is_not_heard(shifted):
    torch.manual_seed(0)
    block = SwinBlock(6, 2, (4, 4), shifted=shifted).double()
    features = torch.randn(1, 8, 8, 6, dtype=torch.float64, requires_grad=True)
    block(features)[0, 1, 1].sum().backward()
    heard = features.grad[0].abs().sum(-1) > 1e-30  # exp(-100) is not quite 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    side = 2 if shifted else 4
    expected[:side, :side] = True
    assert torch.equal(heard, expected)


def test_attention_is_its_formula():
    torch.manual_seed(0)
    attention = WindowAttention(6, (2, 2), 3).double()
    tokens = torch.randn(1, 4, 6, dtype=torch.float64)
    query, key, value = attention.qkv(tokens)[0].reshape(4, 3, 3, 2).permute(1, 2, 0, 3)
    bias = attention.bias[attention.index].permute(2, 0, 1)
    weights = torch.softmax(query @ key.transpose(1, 2) / 2**0.5 + bias, dim=-1)
    mixed = (weights @ value).transpose(0, 1).reshape(1, 4, 6)
    torch.testing.assert_close(attention(tokens), attention.project(mixed))


def test_any_size_comes_back_whole_and_bad_widths_are_refused():
    task = classes_task(2, 37)
    network = registry.build("networks", "swin_unetr:width=6", task).eval()
    assert network(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="width that 3 divides"):
        registry.build("networks", "swin_unetr:width=8", task)
