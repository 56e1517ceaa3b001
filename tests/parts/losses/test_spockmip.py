"""SPOCKMIP: zero for a perfect mask, larger where a tube breaks, taught by maxima alone."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

TINY = 1e-5  # what the slope's guard leaves


def tube():
    """Along the first axis, one voxel thick: (1, 1, 8, 8, 8)."""
    target = torch.zeros(1, 1, 8, 8, 8)
    target[..., 4, 4] = 1
    return target


def projected(shares, target, axis, options=""):
    loss = registry.build("losses", f"spockmip{options}", exclusive=False)
    return float(loss.projection(shares, target, torch.ones_like(target), axis))


def test_focal_tversky_by_hand():
    loss = registry.build("losses", "spockmip:mip=0,volume=1", exclusive=False)
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    # p = 1/2: TP 1/2, FN 1/2, FP 3/2; (1/2 + 1) / (1/2 + 0.35 + 0.45 + 1)
    expected = (1 - 1.5 / 2.3) ** 0.75
    found = float(loss(torch.zeros(1, 1, 2, 2), target, torch.ones(1, 1, 2, 2)))
    assert found == pytest.approx(expected)


def test_the_projection_of_the_label_itself_costs_nothing():
    assert all(projected(tube(), tube(), axis) < TINY for axis in (2, 3, 4))


def test_the_loss_grows_with_every_voxel_that_a_tube_lacks():
    seen = {axis: [projected(tube(), tube(), axis)] for axis in (2, 3, 4)}
    broken = tube()
    for gone in (3, 4, 5):
        broken[:, :, gone, 4, 4] = 0
        for axis, values in seen.items():
            values.append(projected(broken, tube(), axis))
    for axis in (3, 4):
        assert seen[axis] == sorted(set(seen[axis]))
    assert max(seen[2]) < TINY  # seen along the tube there is no gap


def test_a_gap_costs_more_than_as_many_voxels_that_a_projection_hides():
    gap, hidden, target = tube(), tube(), tube()
    target[:, :, 2:6, 3, 4] = 1  # a second tube, behind the first along the second axis
    gap[:, :, 2:6, 3, 4] = 1
    gap[:, :, :4, 4, 4] = 0
    assert projected(hidden, target, 3) < projected(gap, target, 3)
    assert float(((hidden - target) != 0).sum()) == float(((gap - target) != 0).sum())


def test_only_maxima_have_a_gradient():
    torch.manual_seed(0)
    shares = torch.rand(2, 1, 5, 6, 7).requires_grad_()
    target = (torch.rand(2, 1, 5, 6, 7) > 0.8).float()
    loss = registry.build("losses", "spockmip", exclusive=False)
    loss.projection(shares, target, torch.ones_like(target), 4).backward()
    assert torch.equal(shares.grad != 0, shares == shares.amax(4, keepdim=True))


def test_all_axes_are_the_sum_of_each_and_the_last_is_one_of_them():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 5, 6, 7), (torch.rand(2, 1, 5, 6, 7) > 0.8).float()
    even, shares = torch.ones_like(target), logits.sigmoid()
    each = [projected(shares, target, axis) for axis in (2, 3, 4)]
    built = [
        registry.build("losses", f"spockmip:volume=0,axes={axes}", exclusive=False)
        for axes in ("all", "last")
    ]
    everything, last = (float(loss(logits, target, even)) for loss in built)
    assert everything == pytest.approx(0.3 * sum(each), rel=1e-5)
    assert last == pytest.approx(0.3 * each[2], rel=1e-5)


def test_what_has_no_weight_is_not_projected():
    target, shares = tube(), tube()
    shares[..., 0] = 1  # wrong, but nobody looked there
    weight = torch.ones_like(target)
    weight[..., 0] = 0
    loss = registry.build("losses", "spockmip", exclusive=False)
    assert float(loss.projection(shares, target, weight, 4)) < TINY


@pytest.mark.parametrize("axes", ["all", "last"])
def test_a_network_learns_a_tube_from_it(axes):
    torch.manual_seed(0)
    task = classes_task(3, 16, classes=1)
    grid = torch.meshgrid(*[torch.arange(16)] * 3, indexing="ij")
    thick = ((grid[1] - 8) ** 2 + (grid[2] - 7) ** 2 < 9).float()
    batch = make_batch(task, size=1)
    image = thick[None, None] + 0.3 * torch.randn(1, 1, 16, 16, 16)
    batch = batch.but(image=image, label=torch.stack([1 - thick, thick])[None])
    network = registry.build("networks", "unet:width=4", task)
    loss = registry.build("losses", f"spockmip:axes={axes}", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    found = network.eval()(batch)[0].argmax(1)[0] > 0
    assert float(2 * (found & (thick > 0)).sum() / (found.sum() + thick.sum())) > 0.95


def test_other_axes_are_refused():
    with pytest.raises(BadOption, match="axes of last, all, not 'z'"):
        registry.build("losses", "spockmip:axes=z")
