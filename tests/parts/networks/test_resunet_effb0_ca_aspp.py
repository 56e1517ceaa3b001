"""The residual U-Net on EfficientNet-B0: its encoder's size, and what its switches leave out."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.aspp import Aspp
from oncoseg.blocks.attention import SqueezeExcitation
from oncoseg.blocks.efficientnet import Efficientnet
from oncoseg.blocks.mbconv import MbConv
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

WHOLE = "width=1,context=256,decoder=256x128x64x32x16"


def built(options, task):
    torch.manual_seed(0)
    return registry.build("networks", f"resunet_effb0_ca_aspp:{options}", task)


def count(network):
    return sum(value.numel() for value in network.parameters())


def test_the_encoder_is_b0_without_what_classifies():
    with torch.device("meta"):
        encoder = Efficientnet(2, 3)
        network = built(WHOLE, regions_task(2, 64))
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert count(encoder) + head == 5_288_548  # of EfficientNet-B0 with its classifier
    assert list(encoder.widths) == [16, 24, 40, 112, 320]
    assert sum(isinstance(module, MbConv) for module in encoder.modules()) == 16
    assert count(network) == 8_543_642  # none is published


@pytest.mark.parametrize("dims", [2, 3])
def test_a_block_that_keeps_size_and_width_adds_to_what_comes_in(dims):
    torch.manual_seed(0)
    block, features = MbConv(dims, 8, 8, expand=2, kernel=5).eval(), torch.randn(2, 8, *(6,) * dims)
    block.narrow[1].weight.data.zero_()
    assert torch.equal(block(features), features)
    strided = MbConv(dims, 8, 8, expand=2, stride=(2,) * dims).eval()
    assert strided(features).shape == (2, 8, *(3,) * dims)


def test_channels_are_excited_by_what_is_in_them_everywhere():
    torch.manual_seed(0)
    block, features = MbConv(2, 4, 4, expand=2, squeeze=0.25).eval(), torch.randn(1, 4, 9, 9)
    changed = features.clone()
    changed[..., 0, 0] += 5
    assert not torch.equal(block(changed)[..., 5:, 5:], block(features)[..., 5:, 5:])
    plain = MbConv(2, 4, 4, expand=2).eval()
    assert torch.equal(plain(changed)[..., 5:, 5:], plain(features)[..., 5:, 5:])


def kinds(network, kind):
    return sum(isinstance(module, kind) for module in network.decoder.modules()) + sum(
        isinstance(module, kind) for module in [network.context, *network.weigh]
    )


def test_switches_give_the_networks_that_the_paper_compares_with():
    task = classes_task(2, 64)
    batch = make_batch(task)
    small = "width=0.25,decoder=16x16x8x8x8,context="
    whole, late = built(f"{small}8", task), built(f"{small}8,attention=blocks", task)
    assert (kinds(whole, Aspp), kinds(whole, SqueezeExcitation)) == (1, 4)
    assert (kinds(late, Aspp), kinds(late, SqueezeExcitation)) == (1, 5)
    efficient = built(f"{small}0,attention=none", task)
    plain = built(f"{small}0,attention=none,encoder=residual", task)
    for network in (efficient, plain):
        assert kinds(network, Aspp) == kinds(network, SqueezeExcitation) == 0
    assert isinstance(efficient.backbone, Efficientnet)
    assert not any(isinstance(module, MbConv) for module in plain.modules())
    assert list(plain.widths) == list(efficient.widths)
    for network in (whole, late, efficient, plain):
        assert network.eval()(batch)[0].shape == (2, task.outputs, 64, 64)
    torch.testing.assert_close(efficient.context(batch.image), batch.image)


def test_unknown_places_are_refused():
    with pytest.raises(BadOption, match="skips, blocks, none"):
        built("attention=everywhere", classes_task(2))
