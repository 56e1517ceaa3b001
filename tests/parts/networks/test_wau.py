"""Window attention upsampling: what is heard of, the branch beside it, what it costs."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from oncoseg import registry
from oncoseg.blocks.windows import WindowCrossAttention, offsets
from oncoseg.errors import BadOption
from oncoseg.networks.wau import Upsample
from worlds import classes_task, make_batch

SMALL = "wau:width=4,heads=2,window=2"


def upsample(stride=(2, 2), window=2):
    torch.manual_seed(0)
    return Upsample(len(stride), 8, 4, stride, window, 2).double()


def maps(low, high):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)
        for channels, size in ((8, low), (4, high))
    )


@pytest.mark.parametrize(
    ("stride", "low", "high"), [((2, 2), (3, 5), (5, 9)), ((1, 2, 2), (3, 2, 4), (3, 4, 7))]
)
def test_without_attention_it_is_the_bilinear_branch(stride, low, high):
    module = upsample(stride)
    coarse, fine = maps(low, high)
    found = module(coarse, fine)
    assert found.shape[2:] == high
    for layer in (module.attention.project, module.mlp[-1]):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    mode = {2: "bilinear", 3: "trilinear"}[len(high)]
    plain = F.interpolate(module.point(coarse), high, mode=mode, align_corners=False)
    assert not torch.allclose(found, plain)
    assert torch.equal(module(coarse, fine), plain)


def test_what_is_in_another_window_is_not_heard():
    module = upsample(window=2)
    coarse, fine = maps((5, 5), (10, 10))
    attention = module.attention
    coarse = coarse.movedim(1, -1).requires_grad_()
    fine = fine.movedim(1, -1).requires_grad_()
    attention(fine, coarse)[0, 5, 2].sum().backward()  # in the second window of four, the first
    heard = coarse.grad[0].abs().sum(-1) > 0
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[2:4, :2] = True
    assert torch.equal(heard, expected)
    asked = fine.grad[0].abs().sum(-1) > 0
    assert asked.nonzero().tolist() == [[5, 2]]


def test_what_is_padded_is_not_heard():
    torch.manual_seed(0)
    attention = WindowCrossAttention(4, 8, (4, 4), (2, 2), 2).double()
    coarse = torch.randn(1, 1, 1, 8, dtype=torch.float64)
    found = attention(torch.randn(1, 2, 2, 4, dtype=torch.float64), coarse)
    value = attention.project(attention.both(coarse)[..., 4:])  # of a single key, it is the value
    torch.testing.assert_close(found, value.expand(1, 2, 2, 4))


def test_attention_is_its_formula():
    torch.manual_seed(0)
    attention = WindowCrossAttention(4, 8, (2, 1), (1, 2), 2).double()
    fine = torch.randn(1, 2, 2, 4, dtype=torch.float64)
    coarse = torch.randn(1, 2, 1, 8, dtype=torch.float64)
    query = attention.query(fine).reshape(4, 2, 2).transpose(0, 1)
    key, value = attention.both(coarse).reshape(2, 2, 2, 2).permute(1, 2, 0, 3)
    bias = attention.bias[attention.index].permute(2, 0, 1)
    weights = torch.softmax(query @ key.transpose(1, 2) / 2**0.5 + bias, dim=-1)
    mixed = (weights @ value).transpose(0, 1).reshape(1, 2, 2, 4)
    torch.testing.assert_close(attention(fine, coarse), attention.project(mixed))


def test_a_bias_is_that_of_the_offset_alone():
    index = offsets((3,), (2,))
    assert index.shape == (6, 3)
    assert index[0, 0] == index[2, 1] == index[4, 2]
    assert index[1, 0] == index[3, 1]
    assert sorted(index.unique().tolist()) == list(range(10))
    assert offsets((3, 2), (2, 1)).max() + 1 == 2 * 5 * 1 * 3


def test_its_cost_grows_with_the_number_of_pixels():
    module, counts = upsample(window=4), []
    for size in (16, 32):
        with FlopCounterMode(display=False) as counter:
            module(*maps((size, size), (2 * size, 2 * size)))
        counts.append(counter.get_total_flops())
    assert counts[1] == 4 * counts[0]


def test_skips_are_put_beside_unless_they_are_not():
    task = classes_task(2, 37)
    both, alone = (
        registry.build("networks", f"{SMALL},concat={word}", task) for word in ("true", "false")
    )
    assert both.decoder[0][0][0].in_channels == 2 * alone.decoder[0][0][0].in_channels
    assert alone(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="heads do not divide a width of 6"):
        registry.build("networks", "wau:width=6", task)
