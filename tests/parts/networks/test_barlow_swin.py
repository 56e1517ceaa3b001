"""Barlow-Swin: the published size, less to compute than a U-Net, windows that shift by one."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from oncoseg import registry
from oncoseg.blocks.windows import SwinBlock
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

PUBLISHED = "barlow_swin:width=96,decoder=192x128x64x32"
ENCODER = 6_610_896  # of which 128 x 128 x 96 are positions


def published(size):
    labels, names = {"cell": 1}, ("r", "g", "b")
    task = Task("t", names, labels, {"cell": ("cell",)}, (1.0,) * 2, (size,) * 2, ((2, 2),) * 4)
    with torch.device("meta"):
        return task, registry.build("networks", PUBLISHED, task)


def test_parameters_are_the_published_ones():
    task, network = published(512)
    assert network.grid == (128, 128)
    sizes = {
        name: sum(value.numel() for value in module.parameters())
        for name, module in network.named_children()
    }
    encoder = network.positions.codes.numel() + sum(
        sizes[name] for name in ("embed", "stages", "merge")
    )
    assert encoder == ENCODER
    widths = [(384 + 192, 192), (192 + 96, 128), (128, 64), (64, 32)]
    assert sizes["decoder"] == sum(
        9 * inputs + 9 * width + 2 * inputs * width + width * width + 9 * width
        for inputs, width in widths
    )
    head = (32 + 3) * task.outputs
    assert round((encoder + sizes["decoder"] + head) / 1e6, 2) == 7.00


def test_it_computes_less_than_a_unet():
    task, network = published(256)
    with torch.device("meta"):
        unet = registry.build("networks", "unet:width=64", task)
    batch = make_batch(task, size=1)
    batch = batch.but(image=batch.image.to("meta"), present=batch.present.to("meta"))
    counts = []
    for each in (network, unet):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            each(batch)
        counts.append(counter.get_total_flops())
    assert counts[0] < counts[1] / 4


def test_its_windows_shift_by_one():
    torch.manual_seed(0)
    block = SwinBlock(6, 2, (4, 4), shifted=True, by=1).double()
    features = torch.randn(1, 8, 8, 6, dtype=torch.float64, requires_grad=True)
    block(features)[0, 1, 1].sum().backward()
    heard = features.grad[0].abs().sum(-1) > 1e-30  # exp(-100) is not quite 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[1:5, 1:5] = True
    assert torch.equal(heard, expected)
    network = registry.build("networks", "barlow_swin:width=8,heads=2", classes_task(2))
    assert [[block.by * block.shifted for block in stage] for stage in network.stages] == [
        [0, 1]
    ] * 3


def test_positions_are_learned_and_fit_other_sizes():
    torch.manual_seed(0)
    small = "barlow_swin:width=8,heads=2,decoder=8"
    network = registry.build("networks", small, classes_task(2, 64)).eval()
    batch = make_batch(classes_task(2, 64))
    before = network.encode(batch)[0]
    network.positions.codes.data.normal_()
    assert not torch.allclose(network.encode(batch)[0], before)
    assert network(make_batch(classes_task(2, 90)))[0].shape[2:] == (90, 90)


def test_heads_must_divide_the_width():
    with pytest.raises(BadOption, match="8 heads do not divide a width of 20"):
        registry.build("networks", "barlow_swin:width=20,heads=8", classes_task(2))
