"""Swin-UMamba: the published size, and scans that are one-dimensional ones along the axes."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.scan import sequential
from oncoseg.blocks.ss2d import Ss2d, crossed
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "swin_umamba:width=4,depths=1x1x1x1,states=4"


@pytest.mark.parametrize(("decoder", "millions"), [("conv", 59.889), ("scan", 27.498)])
def test_parameters_are_the_public_codes(decoder, millions):
    names = {f"l{value}": value for value in range(1, 14)}
    regions = {name: (name,) for name in names}
    task = Task("t", ("ct",), names, regions, (1.0,) * 2, (512,) * 2, ((2, 2),) * 5)
    with torch.device("meta"):
        spelled = f"swin_umamba:width=48,depths=2x2x9x2,states=16,decoder={decoder}"
        network = registry.build("networks", spelled, task)
    assert round(sum(value.numel() for value in network.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize("dims", [2, 3])
def test_routes_go_there_and_back(dims):
    shape = (2, 3, 4)[:dims]
    voxels = torch.arange(torch.tensor(shape).prod()).reshape(1, 1, *shape)
    orders = [route.along(voxels).flatten().tolist() for route in crossed(dims)]
    assert len({tuple(order) for order in orders}) == 2 * dims
    assert orders[dims:] == [order[::-1] for order in orders[:dims]]
    assert orders[0] == sorted(orders[0])
    for route in crossed(dims):
        assert torch.equal(route.undone(route.along(voxels), shape), voxels)
    if dims == 2:
        assert orders[1] == [0, 3, 1, 4, 2, 5]


def test_ss2d_is_four_scans_and_their_inverse_permutations():
    torch.manual_seed(0)
    layer, features = Ss2d(6, 2, states=3).double(), torch.randn(2, 3, 5, 6).double()
    inner, gate = layer.enter(features).chunk(2, dim=-1)
    inner = torch.nn.functional.silu(layer.convolve(inner.movedim(-1, 1)))
    index = torch.arange(15).reshape(3, 5)
    total = 0
    for scan, order in zip(
        layer.scans,
        [index.flatten(), index.T.flatten(), index.flatten().flip(0), index.T.flatten().flip(0)],
    ):
        sequence = inner.flatten(2)[..., order]
        step, into, out = scan.select(sequence.transpose(1, 2)).split([1, 3, 3], dim=-1)
        delta = torch.nn.functional.softplus(scan.step(step)).transpose(1, 2)
        given = -torch.exp(scan.log_rate), into.transpose(1, 2), out.transpose(1, 2), scan.skip
        total = total + sequential(sequence, delta, *given)[..., torch.argsort(order)]
    total = layer.norm(total.reshape(inner.shape).movedim(1, -1))
    expected = layer.leave(total * torch.nn.functional.silu(gate))
    torch.testing.assert_close(layer(features), expected)


def test_steps_start_as_published():
    network = registry.build("networks", SMALL, classes_task(2))
    scan = network.stages[3][0].scan.scans[1]
    steps = torch.nn.functional.softplus(scan.step.bias)
    assert 0.001 * 0.99 <= steps.min() < steps.max() <= 0.1 * 1.01
    torch.testing.assert_close(-scan.log_rate.exp()[5], -torch.arange(1.0, 5))
    assert network.stages[3][0].scan.enter.weight.std() < 0.025


def test_odd_sizes_come_back_whole_at_every_level():
    task = classes_task(2, 37)
    network = registry.build("networks", SMALL, task).train()
    sizes = [tuple(level.shape[2:]) for level in network(make_batch(task))]
    assert sizes == [(37, 37), (19, 19), (10, 10), (5, 5)]
    scanned = registry.build("networks", f"{SMALL},decoder=scan", task).train()
    logits = scanned(make_batch(task))
    assert [tuple(level.shape[2:]) for level in logits] == [(37, 37), (10, 10), (5, 5), (3, 3)]
    sum(level.square().mean() for level in logits).backward()
    assert all(value.grad is not None for value in scanned.parameters())
    assert [each.shape[1] for each in scanned.encode(make_batch(task))] == scanned.widths


def test_the_decoder_scans_in_three_dimensions():
    task = classes_task(3, 16)
    network = registry.build("networks", f"{SMALL},decoder=scan", task).eval()
    assert network(make_batch(task))[0].shape[2:] == (16, 16, 16)


def test_what_is_not_there_is_refused():
    with pytest.raises(BadOption, match="decoders conv, scan, not 'mlp'"):
        registry.build("networks", "swin_umamba:decoder=mlp", classes_task(2))
    with pytest.raises(BadOption, match="four depths"):
        registry.build("networks", "swin_umamba:depths=2x2", classes_task(2))
