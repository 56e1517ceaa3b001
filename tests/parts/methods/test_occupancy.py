"""Learning at points: where they are drawn, which of them count, and that it works."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "oss_net:widths=4x8,features=16,side=3"


def built(spelled="", network=SMALL, dims=2, size=32):
    task = classes_task(dims, size)
    torch.manual_seed(0)
    net = registry.build("networks", network, task)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    return registry.build("methods", f"occupancy:{spelled}", net, task, loss), make_batch(task)


def test_it_asks_at_so_many_points_and_no_more():
    method, batch = built("points=37")
    seen, at = [], method.network.at
    method.network.at = lambda codes, image, places: (
        seen.append(places.shape) or at(codes, image, places)
    )
    method.losses(batch, 0)
    assert seen == [(2, 37, 2)]


def test_the_hardest_points_count_alone():
    method, _ = built("hardest=0.5")
    logits = torch.tensor([[[9.0, 9, 0, 0], [0, 0, 9, 9]]])
    target = torch.zeros(1, 2, 4)
    target[:, 0] = 1
    found = method._costs(logits, target, torch.ones(1, 1, 4))
    torch.testing.assert_close(found, torch.tensor(9.0), rtol=1e-3, atol=0)
    unknown = torch.tensor([[[1.0, 1, 0, 0]]])
    assert method._costs(logits, target, unknown) < 1e-3


def test_the_encoder_learns_too_where_it_has_logits():
    method, batch = built("auxiliary=0.5", network=f"{SMALL},auxiliary=true")
    losses = method.train().losses(batch, 0)
    losses["auxiliary"].backward()
    assert method.network.auxiliary.weight.grad.any()
    assert set(built()[0].losses(batch, 0)) == {"occupancy"}


def test_it_learns_one_image_by_heart():
    method, batch = built("points=256")
    optimiser = torch.optim.Adam(method.network.parameters(), lr=1e-2)
    for step in range(60):
        optimiser.zero_grad()
        sum(method.losses(batch, step).values()).backward()
        optimiser.step()
    found = method.network.eval()(batch)[0].argmax(1) == 2
    truth = batch.label[:, 2] > 0
    assert 2 * (found & truth).sum() > 0.95 * (found.sum() + truth.sum())


def test_what_is_out_of_range_is_refused():
    with pytest.raises(BadOption, match="balance from 0 to 1"):
        built("balance=2")
