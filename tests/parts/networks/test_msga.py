"""Multi-scale guided attention: the published size, eight maps, attention."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.attention import ChannelAttention
from oncoseg.blocks.resnext import Resnext
from oncoseg.errors import BadOption
from oncoseg.networks.msga import Bounded
from worlds import classes_task, make_batch

PUBLISHED = "width=64,units=3x4x23x3,groups=32,features=64,tokens=4096"
SMALL = "width=8,units=1x1x1x1,groups=8,features=8"
UNUSED = 955_412  # of the public code: sixteen modules that it never runs


def built(task, options=SMALL):
    torch.manual_seed(0)
    return registry.build("networks", f"msga:{options}", task)


def count(module):
    return sum(value.numel() for value in module.parameters())


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        backbone = Resnext(2, 3, 64, (3, 4, 23, 3), 32)
        network = built(classes_task(2, 64, classes=4), PUBLISHED)
    assert count(backbone) + 2048 * 1000 + 1000 == 44_177_704  # of ResNeXt-101 32x4d
    assert count(network) - count(network.backbone) + UNUSED == 17_775_411


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("tokens", [10, 1000])
def test_attention_starts_as_nothing_whatever_its_bound(dims, tokens):
    torch.manual_seed(0)
    bounded, features = Bounded(dims, 8, tokens), torch.randn(2, 8, *(5,) * dims)
    seen = []
    bounded.attention.register_forward_hook(lambda module, given, _: seen.append(given[0]))
    assert torch.allclose(bounded(features), features)
    assert seen[0][0, 0].numel() <= tokens
    bounded.attention.gamma.data.fill_(1.0)
    assert not torch.allclose(bounded(features), features)


def test_channels_attend_to_those_they_are_least_like():
    attention, features = ChannelAttention(), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    assert torch.equal(attention(features), features)
    attention.gamma.data.fill_(1.0)
    flat = features.flatten(2)
    energy = flat @ flat.transpose(1, 2)
    expected = torch.softmax(-energy, dim=-1) @ flat + flat
    torch.testing.assert_close(attention(features), expected.reshape(features.shape))


def test_eight_maps_and_the_mean_of_those_of_the_second_pass():
    task = classes_task(2, 64)
    network, batch = built(task).train().double(), make_batch(task)
    batch = batch.but(image=batch.image.double())
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    maps = network(batch)
    assert [tuple(level.shape) for level in maps] == [(2, task.outputs, 64, 64)] * 8
    answer = network.eval()(batch)[0]
    torch.testing.assert_close(answer, torch.stack(maps[:4]).mean(dim=0))


def test_each_pass_is_guided_by_one_module_for_all_scales():
    task = classes_task(2, 64)
    network, batch = built(task).train(), make_batch(task)
    _, guides = network.guided(network.encode(batch), batch)
    assert (len(guides.pairs), len(guides.copies)) == (4, 8)
    for first, second in guides.pairs:
        assert first.shape == second.shape == (2, 64, 4, 4)
    for seen, copy in guides.copies:
        assert seen.shape == copy.shape == (2, 16, 16, 16)


def test_four_stages_are_asked_for():
    with pytest.raises(BadOption, match="four units"):
        built(classes_task(2), "units=2x2")
