"""DM-SegNet: four routes with inverses, and states that are handed from scale to scale."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.routed_mamba import RoutedMamba, slicewise
from oncoseg.blocks.scan import Mamba, resumed, selective_scan
from oncoseg.blocks.ss2d import Route
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "dm_segnet:width=4,states=4"


def built(options="", dims=3, size=32):
    torch.manual_seed(0)
    return registry.build("networks", SMALL + options, classes_task(dims, size))


@pytest.mark.parametrize("dims", [2, 3])
def test_four_routes_are_permutations_with_exact_inverses(dims):
    shape = (2, 3, 4)[:dims]
    voxels = torch.arange(int(torch.tensor(shape).prod())).reshape(1, 1, *shape)
    orders = [route.along(voxels).flatten() for route in slicewise(dims)]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(orders[0], orders[1].flip(0))
    assert torch.equal(orders[2], orders[3].flip(0))
    for route, order in zip(slicewise(dims), orders):
        assert torch.equal(order.sort()[0], voxels.flatten())
        assert torch.equal(route.undone(route.along(voxels), shape), voxels)
    # The first goes through one slice, of which the last axis tells, before the next.
    assert (orders[0] % shape[-1]).diff().min() == 0
    assert torch.equal(orders[2], voxels.flatten())


def test_a_scan_goes_on_from_where_another_ended():
    torch.manual_seed(0)
    u, delta = torch.randn(2, 3, 11).double(), torch.rand(2, 3, 11).double()
    rate, skip = -torch.rand(3, 4).double(), torch.rand(3).double()
    into, out = torch.randn(2, 4, 11).double(), torch.randn(2, 4, 11).double()
    whole = selective_scan(u, delta, rate, into, out, skip)
    state, parts = torch.zeros(2, 3, 4).double(), []
    for piece in (slice(0, 6), slice(6, 11)):
        given = (each[..., piece] for each in (u, delta))
        chosen = (each[..., piece] for each in (into, out))
        found, state = resumed(*given, rate, *chosen, skip, state)
        parts.append(found)
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole)


def test_along_one_route_it_is_mamba():
    torch.manual_seed(0)
    plain, routed = Mamba(6, states=4), RoutedMamba(6, [Route((0, 1))], states=4)
    scan, convolve = routed.scans[0], routed.convolve[0]
    routed.enter, routed.leave = plain.enter, plain.leave
    convolve.load_state_dict(plain.convolve.state_dict())
    scan.select, scan.step, scan.log_rate, scan.skip = (
        plain.select,
        plain.step,
        plain.log_rate,
        plain.skip,
    )
    features = torch.randn(2, 6, 3, 5)
    tokens = routed.norm(features.flatten(2).transpose(1, 2))
    expected = plain(tokens).transpose(1, 2).reshape(2, 6, 3, 5)
    torch.testing.assert_close(routed(features), expected)


def test_without_state_sync_it_is_the_baseline():
    task = classes_task(3, 32)
    off, on, batch = built(",state_sync=false").eval(), built().eval(), make_batch(task)
    missing = on.load_state_dict(off.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert missing.missing_keys == [f"fuse.{level}.synchronise.weight" for level in (0, 1)]
    assert torch.equal(on(batch)[0], off(batch)[0])  # the maps of states are 0 at first
    on.fuse[0].synchronise.weight.data.normal_()
    assert not torch.allclose(on(batch)[0], off(batch)[0])


def test_shared_scans_save_parameters_and_odd_sizes_come_back():
    count = [sum(each.numel() for each in built(o).parameters()) for o in ("", ",shared=true")]
    assert count[1] < count[0]
    assert built(dims=2, size=37)(make_batch(classes_task(2, 37)))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="at least 1"):
        built(",depth=0")


def test_it_learns_one_image_by_heart():
    task = classes_task(2, 32)
    network, batch = built(dims=2).train(), make_batch(task)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    found, truth = network(batch)[0].argmax(1) == 2, batch.label[:, 2] > 0
    assert 2 * (found & truth).sum() > 0.95 * (found.sum() + truth.sum())
