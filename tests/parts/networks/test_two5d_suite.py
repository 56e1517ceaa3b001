"""2.5-D: slices that come back, neighbours that are seen, views that agree, and what each adds."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.slices import across, beside, cut, joined
from oncoseg.errors import BadOption
from oncoseg.networks.two5d_suite import KINDS
from worlds import classes_task, make_batch, regions_task

SMALL = "network=(unet:width=4,blocks=1),volume=(unet:width=4,blocks=1)"


def built(kind, task, options="", seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", f"two5d_suite:kind={kind},{SMALL}{options}", task)


def uneven(task, shape):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, task.inputs, *shape, generator=generator)
    batch = make_batch(replace(task, patch=shape), size=1)
    return batch.but(image=image)


def test_slices_come_back_in_every_view():
    volume = torch.randn(2, 3, 4, 5, 6)
    for axis, count in enumerate(volume.shape[2:]):
        slices = cut(volume, axis)
        assert torch.equal(slices[1], volume.select(2 + axis, 1)[0])
        assert torch.equal(joined(slices, axis, count), volume)
    assert across((1, 1, 1)) == 2
    assert across((1, 3, 1)) == 1


def test_beyond_the_ends_the_last_slice_is_repeated_or_nothing():
    volume = torch.arange(4.0).view(1, 1, 4, 1, 1)
    assert beside(volume, 0, (-1, 0, 2)).flatten(2)[0].tolist() == [
        [0, 0, 1, 2],
        [0, 1, 2, 3],
        [2, 3, 3, 3],
    ]
    assert beside(volume + 1, 0, (-1,), repeat=False).flatten().tolist() == [0, 1, 2, 3]


def test_without_neighbours_it_is_the_2d_network_on_each_slice():
    task = classes_task(3, 16)
    batch = uneven(task, (16, 13, 5))
    none, flat = built("slices", task, ",near=0").eval(), built("2d", task).eval()
    image = built("2d", classes_task(2, 16)).eval()
    image.load_state_dict(flat.state_dict())
    found = flat(batch)[0]
    assert torch.equal(none(batch)[0], found)
    for at in range(5):
        one = uneven(classes_task(2, 16), (16, 13)).but(image=batch.image[..., at])
        torch.testing.assert_close(image(one)[0], found[..., at], atol=1e-5, rtol=1e-5)


def reach(network, batch):
    """The slices whose answer changes where the fourth of eight does."""
    changed = batch.image.clone()
    changed[..., 3] += torch.randn(changed[..., 3].shape)
    with torch.no_grad():
        apart = network(batch)[0] - network(batch.but(image=changed))[0]
    return (apart.abs().amax((0, 1, 2, 3)) > 1e-6).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("2d", [3]),
        ("slices", [2, 3, 4]),
        ("lstm", list(range(8))),
        ("attention", list(range(8))),
        ("hybrid", list(range(8))),
    ],
)
def test_how_far_a_slice_is_seen(kind, seen):
    task = classes_task(3, 16)
    assert reach(built(kind, task).eval(), uneven(task, (16, 16, 8))) == seen


@pytest.mark.parametrize("task", [classes_task(3, 16), regions_task(3, 16)])
@pytest.mark.parametrize("fuse", ["mean", "vote", "conv"])
def test_views_that_agree_say_together_what_each_says(fuse, task):
    network = built("views", task, f",fuse={fuse}").eval()
    logits = 3 * torch.randn(2, task.outputs, 6, 6, 6)
    together = network.fused([logits] * 3)
    if fuse == "vote":
        same = (
            logits.argmax(1) == together.argmax(1)
            if task.exclusive
            else (logits > 0) == (together > 0)
        )
        assert same.all()
    elif task.exclusive:
        torch.testing.assert_close(together.softmax(1), logits.softmax(1))
    else:
        torch.testing.assert_close(together, logits)


@pytest.mark.parametrize("exclusive", [True, False])
def test_two_of_three_views_outvote_one_that_is_surer(exclusive):
    task = classes_task(3, 16, classes=1) if exclusive else regions_task(3, 16)
    network = built("views", task, ",fuse=vote").eval()
    yes = torch.full((1, task.outputs, 2, 2, 2), 0.25)
    if exclusive:
        yes[:, 0] *= -1
    against = [yes, yes, -9 * yes]
    found, mean = network.fused(against), built("views", task).eval().fused(against)
    if exclusive:
        found, mean = (each[:, 1:] - each[:, :1] for each in (found, mean))
    assert (found > 0).all()
    assert (mean < 0).all()


def test_each_view_reads_its_own_plane():
    task = classes_task(3, 16)
    network, batch = built("views", task).eval(), uneven(task, (8, 16, 24))
    sizes = [tuple(level.shape[2:]) for level in network.encode(batch)[3:6]]
    assert sizes == [(8, 8, 12), (4, 16, 12), (4, 8, 24)]
    assert len(network.widths) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_answers_any_size(kind):
    task = classes_task(3, 16)
    network = built(kind, task, ",fuse=conv" if kind == "views" else "").train()
    sum(level.square().mean() for level in network(make_batch(task))).backward()
    assert all(value.grad is not None for value in network.parameters())
    with torch.no_grad():
        odd = network.eval()(uneven(task, (17, 14, 9)))
    assert [tuple(level.shape) for level in odd] == [(1, task.outputs, 17, 14, 9)]
    assert network.widths == [level.shape[1] for level in network.encode(make_batch(task))]


@pytest.mark.parametrize("kind", ["slices", "conv", "attention"])
def test_an_image_that_is_one_slice_goes_through_as_it_is(kind):
    task = regions_task(2, 32)
    flat, same = built("2d", task).eval(), built(kind, task).eval()
    assert torch.equal(flat(make_batch(task))[0], same(make_batch(task))[0])


def test_unknown_kinds_are_refused():
    with pytest.raises(BadOption, match="kind of 2d, slices"):
        built("3d", classes_task(3, 16))
