"""TransUNet: the published size, standardised weights, positions that fit other sizes."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.resnet_v2 import Standardised
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

PUBLISHED = "width=64,units=3x4x9,dim=768,depth=12,heads=12,decoder=512x256x128x64x16"


def test_parameters_are_the_published_ones():
    labels = {f"organ_{value}": value for value in range(1, 9)}
    regions = {name: (name,) for name in labels}
    names = ("r", "g", "b")
    task = Task("t", names, labels, regions, (1.0,) * 2, (224,) * 2, ((2, 2),) * 4)
    with torch.device("meta"):
        network = registry.build("networks", f"transunet:{PUBLISHED}", task)
    assert network.grid == (14, 14)
    assert sum(value.numel() for value in network.parameters()) == 105_277_081


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_are_standardised_whatever_their_scale(dims):
    torch.manual_seed(0)
    conv, image = Standardised(dims, 3, 4, 3, 1, 1), torch.randn(1, 3, *(6,) * dims)
    before = conv(image)
    conv.conv.weight.data.mul_(50).add_(3)
    torch.testing.assert_close(conv(image), before, rtol=1e-2, atol=1e-2)


def test_positions_are_learned_and_fit_other_sizes():
    torch.manual_seed(0)
    task = classes_task(2, 64)
    network = registry.build("networks", "transunet:width=8,dim=24,heads=2,depth=1", task).eval()
    batch = make_batch(task)
    before = network.encode(batch)[-1]
    network.positions.codes.data.normal_()
    assert not torch.allclose(network.encode(batch)[-1], before)
    assert network(make_batch(classes_task(2, 90)))[0].shape[2:] == (90, 90)


def test_heads_must_divide_the_width():
    with pytest.raises(BadOption, match="heads do not divide a width"):
        registry.build("networks", "transunet:dim=100,heads=6", classes_task(2))
