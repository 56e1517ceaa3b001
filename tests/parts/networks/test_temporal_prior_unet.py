"""Prior-slice U-Net: no slice is told of later ones, none of what it lacks, and gaps are closed."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

SMALL = "network=(unet:width=4,blocks=1)"
KINDS = ("images", "masks", "lstm")


def built(options, task, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", f"temporal_prior_unet:{SMALL},{options}", task)


@pytest.mark.parametrize("task", [classes_task(3, 16), regions_task(3, 16)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_is_told_of_those_before_it_alone(kind, task):
    network, batch = built(f"kind={kind},priors=2", task).eval(), make_batch(task, size=1)
    changed = batch.image.clone()
    changed[:, :, 9] += torch.randn(changed[:, :, 9].shape)
    with torch.no_grad():
        before, after = network(batch)[0], network(batch.but(image=changed))[0]
    moved = (before != after).flatten(3).any(3)[0].any(0).tolist()
    assert not any(moved[:9])
    assert all(moved[9:12])  # itself and the two that it is a prior of
    assert any(moved[12:]) == (kind != "images")  # what was found, or kept in mind, goes on


def test_without_priors_it_is_the_plain_network_on_each_slice():
    volumes, images = classes_task(3, 16), classes_task(2, 16)
    network = built("priors=0", volumes).eval()
    plain = registry.build("networks", "unet:width=4,blocks=1", images).eval()
    plain.load_state_dict(
        {name.removeprefix("inside.network."): v for name, v in network.state_dict().items()}
    )
    batch, flat = make_batch(volumes), make_batch(images)
    found = network(batch)[0]
    for at in (0, 7, 15):
        one = plain(flat.but(image=batch.image[:, :, at]))[0]
        torch.testing.assert_close(one, found[:, :, at], atol=1e-5, rtol=1e-5)


def test_a_sweep_finds_what_a_teacher_who_says_the_same_makes_it_find():
    task = classes_task(3, 16)
    network, batch = built("kind=masks,drop=0", task).eval(), make_batch(task)
    with torch.no_grad():
        swept = network(batch)[0]
        said = (swept.softmax(1) > 0.5).float()
        assert 0.01 < float(said[:, 1:].mean()) < 0.99  # else there is nothing to be told
        taught = network.train()(batch.but(label=said))[0]
        blind = network(batch.but(label=said, labeled=~batch.labeled))[0]
    torch.testing.assert_close(taught, swept, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(blind, swept, atol=1e-2)


def test_masks_that_are_left_out_or_unknown_are_not_there():
    task = regions_task(3, 16)
    network, batch = built("kind=masks,drop=1,priors=1", task), make_batch(task)
    image, present = network._shown(batch, taught=True)
    assert image.shape[1] == 2 * 4 + 3
    assert not present[:, 8:].any()
    assert not image[:, 8:].any()
    network.drop = 0
    annotated = batch.annotated.clone()
    annotated[0, 1] = False  # the second region of the first scan was not looked for
    image, present = network._shown(batch.but(annotated=annotated), taught=True)
    assert present[:, 8:, 1:].flatten(2).any(2).tolist() == [[True, False, True], [True] * 3]
    assert not present[:, 8:, 0].any()  # before the first slice there is none
    assert torch.equal(image[1, 8:, 1:], batch.label[1, :, :-1])


def tubes(seed, size=4):
    """Tubes at random places of which every fourth slice was not taken."""
    generator = torch.Generator().manual_seed(seed)
    centre = 5 + 6 * torch.rand(size, 2, 1, 1, 1, generator=generator)
    rows, columns = (torch.arange(16.0).view(shape) for shape in ((1, 16, 1), (1, 1, 16)))
    tube = ((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < 10).float()
    tube = tube.expand(size, 12, 16, 16)
    image = tube + 0.2 * torch.randn(tube.shape, generator=generator)
    image = torch.where(torch.arange(12).view(1, 12, 1, 1) % 4 == 3, 0.0, image)
    batch = make_batch(classes_task(3, 16, classes=1), size=size)
    present = torch.ones(size, 1, 12, 16, 16, dtype=torch.bool)
    label = torch.stack([1 - tube, tube], dim=1)
    return batch.but(image=image[:, None], present=present, label=label, weight=present.float())


def continuity(options):
    """Mean Dice of the masks of neighbouring slices, after a short training."""
    task = classes_task(3, 16, classes=1)
    network = built(options, task).train()
    loss = registry.build("losses", "dice_ce", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(60):
        batch = tubes(step)
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    with torch.no_grad():
        found = network.eval()(tubes(1000))[0].argmax(1).float()
    one, other = found[:, 1:], found[:, :-1]
    return float((2 * (one * other).sum((2, 3)) / ((one + other).sum((2, 3)) + 1e-6)).mean())


def test_priors_close_gaps_between_slices():
    assert continuity("priors=0") < 0.85  # half of all pairs have a slice that was not taken
    assert continuity("kind=images,priors=1") > 0.95
    assert continuity("kind=masks,priors=1") > 0.95


def test_only_what_sweeps_cannot_be_exported():
    task = classes_task(3, 16)
    assert built("kind=masks", task).alone
    assert not built("kind=images", task).alone
    assert not built("priors=2", task).alone  # the default has no mask to fall for
    assert not built("kind=masks", classes_task(2, 16)).alone


def test_unknown_kinds_are_refused():
    with pytest.raises(BadOption, match="kind of images, masks, lstm"):
        built("kind=mask", classes_task(3, 16))
