"""Att-SwinU-Net: the size of Swin-Unet without its attentions, maps that are lent and heard."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.patch_expand import PatchExpand
from oncoseg.case import Task
from oncoseg.errors import BadOption
from oncoseg.networks.att_swin_unet import CrossContext, Mixed
from worlds import classes_task, make_batch

SMALL = "att_swin_unet:width=6,window=2,dim=2"
SWIN_UNET = 27_168_900
CROSS = 787_584 + 1_575_168 + 3_150_336


def published(options):
    labels = {f"organ_{value}": value for value in range(1, 9)}
    regions = {name: (name,) for name in labels}
    names = ("r", "g", "b")
    task = Task("t", names, labels, regions, (1.0,) * 2, (224,) * 2, ((2, 2),) * 4)
    with torch.device("meta"):
        network = registry.build("networks", f"att_swin_unet:width=96,dim=64,{options}", task)
    return sum(value.numel() for value in network.parameters())


def test_parameters_are_the_published_ones():
    assert published("cross=false,spatial=false") == SWIN_UNET
    assert published("spatial=false") == SWIN_UNET + CROSS
    assert published("cross=true") == SWIN_UNET + CROSS + 6  # a factor of each decoder block


@pytest.mark.parametrize("shifted", [False, True])
def test_a_map_of_the_encoder_changes_what_the_decoder_attends_to(shifted):
    torch.manual_seed(0)
    block, encoder = (Mixed(6, 2, 4, 2, shifted=shifted, spatial=True).double() for _ in range(2))
    features, given = torch.randn(2, 1, 8, 8, 6, dtype=torch.float64)
    found = block(features, given, encoder.block)
    encoder.block.attention.qkv.weight.data.mul_(-2)
    assert not torch.allclose(block(features, given, encoder.block), found)
    block.factor.data.zero_()
    torch.testing.assert_close(block(features, given, encoder.block), block.block(features))


def test_maps_that_are_lent_are_those_the_encoder_used():
    torch.manual_seed(0)
    task = classes_task(2, 64)
    network = registry.build("networks", f"{SMALL},depths=2x4x2x2", task).eval()
    batch, seen = make_batch(task), {}
    for level, stage in enumerate(network.stages):
        for place, block in enumerate(stage.blocks):
            block.register_forward_hook(
                lambda _, given, found, at=(level, place): seen.update({at: given[0]})
            )
    pyramid = network.encode(batch)
    for level, last in ((0, 1), (1, 3), (2, 1)):
        first, second = pyramid[level].movedim(1, -1).chunk(2, dim=-1)
        assert torch.equal(first, seen[level, 0])
        assert torch.equal(second, seen[level, last])
        assert network.stages[level].blocks[last].shifted


def test_a_class_token_moves_all_tokens_of_its_map():
    torch.manual_seed(0)
    module = CrossContext(6, 2).double()
    first, second = torch.randn(2, 1, 3, 4, 6, dtype=torch.float64)
    moved, other = module(first, second)
    change = moved - first
    torch.testing.assert_close(change, change[:, :1, :1].expand_as(change))
    shuffled = second.flatten(1, 2)[:, torch.randperm(12)].reshape(second.shape)
    torch.testing.assert_close(module(first, shuffled)[0], moved)
    assert not torch.allclose(module(first, second + 1)[0], moved)
    assert not torch.allclose(other, second)


@pytest.mark.parametrize("dims", [2, 3])
def test_expanding_deals_channels_to_neighbours(dims):
    module = PatchExpand(dims, 4, 3).double()
    features = torch.randn(1, *(2, 3, 2)[:dims], 4, dtype=torch.float64)
    found, dealt = module(features), module.expand(features)
    assert found.shape == (1, *(4, 6, 4)[:dims], 3)
    last = (0, *(1,) * dims)  # the first patch's last place
    torch.testing.assert_close(found[last], module.norm(dealt[(0, *(0,) * dims)][-3:]))


def test_any_size_comes_back_whole_and_bad_options_are_refused():
    task = classes_task(2, 37)
    assert registry.build("networks", SMALL, task)(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="even depths"):
        registry.build("networks", "att_swin_unet:depths=2x2x1x2", task)
