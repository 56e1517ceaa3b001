"""DAU-Net: attentions that are the identity at first, and a bottleneck that guides each level."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.attention import ChannelAttention, PositionAttention
from worlds import classes_task, make_batch


def opened(attention):
    attention.gamma.data.fill_(1.0)
    return attention


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["position", "channel"])
def test_attention_is_the_identity_at_first_and_knows_no_place(dims, kind):
    torch.manual_seed(0)
    attention = PositionAttention(dims, 8) if kind == "position" else ChannelAttention()
    attention, features = attention.double(), torch.randn(2, 8, *(4,) * dims).double()
    assert torch.equal(attention(features), features)
    turned = features.flip(2).transpose(2, 3)
    found = opened(attention)(features)
    assert not torch.allclose(found, features)
    torch.testing.assert_close(attention(turned), found.flip(2).transpose(2, 3))


def test_channel_attention_is_its_formula():
    features = torch.randn(1, 3, 4, dtype=torch.float64)
    energy = features[0] @ features[0].T
    weights = torch.softmax(energy.max(dim=1, keepdim=True).values - energy, dim=1)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))
    found = opened(ChannelAttention().double())(features)
    torch.testing.assert_close(found[0], weights @ features[0] + features[0])


def test_the_bottleneck_guides_every_level():
    torch.manual_seed(0)
    task = classes_task(2, 32)
    network = registry.build("networks", "daunet:widths=4x8x8x8", task).eval()
    plain = registry.build("networks", "daunet:widths=4x8x8x8,guided=false", task)
    assert len(network.guides) == 3
    assert not len(plain.guides)
    batch = make_batch(task)
    for up in network.up:  # the decoder hears of the bottleneck by its guides alone
        up.register_forward_hook(lambda module, given, found: 0 * found)
    pyramid = network.encode(batch)
    before = network.decode(pyramid, batch)[0]
    pyramid[-1] = pyramid[-1] + 1
    assert not torch.allclose(before, network.decode(pyramid, batch)[0])
