"""The denoising U-Net: what it paints, what it leaves, and what it is told."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.implants import painted
from oncoseg.errors import BadRun
from worlds import classes_task, make_batch, regions_task

SMALL = "diffusion_unet:width=8,steps=6,jump=2"


def build(task, spelled=SMALL):
    torch.manual_seed(0)
    return registry.build("networks", spelled, task).eval()


def test_what_lies_around_is_the_image_voxel_by_voxel():
    task = classes_task(2, 32, 1)
    network, batch = build(task), make_batch(task)
    result = network(batch)[0]
    inside = batch.label[:, 1] > 0
    assert torch.equal(result[:, 1][~inside], batch.image[:, 0][~inside])
    assert not torch.equal(result[:, 1][inside], batch.image[:, 0][inside])
    assert torch.equal(result[:, 0], batch.image[:, 0])  # the background is never painted


def test_what_is_painted_stays_in_reach():
    task = classes_task(2, 32, 1)
    network, batch = build(task), make_batch(task)
    inside = batch.label[:, 1] > 0
    assert float(network(batch)[0][:, 1][inside].abs().max()) <= 3 + 1e-5


def test_the_same_batch_is_painted_the_same_and_samples_differ():
    task = classes_task(2, 32, 1)
    network, batch = build(task), make_batch(task)
    first = network(batch)[0]
    torch.manual_seed(9)
    assert torch.equal(first, network(batch)[0])
    many = network.samples(batch, 3)
    inside = batch.label > 0.5
    inside[:, 0] = False
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert not torch.equal(many[a][inside], many[b][inside])
        assert torch.equal(many[a][~inside], many[b][~inside])


def test_regions_and_modalities_each_have_an_output():
    user = regions_task(2, 32, ("t1", "flair"))
    task = painted(user, tuple(user.regions))
    network, batch = build(task), make_batch(user)
    result = network(batch)[0]
    assert result.shape == (2, 6, 32, 32)
    for region in range(3):
        for modality in range(2):
            inside = batch.label[:, region] > 0.5
            channel = result[:, 2 * region + modality]
            assert torch.equal(channel[~inside], batch.image[:, modality][~inside])
            assert not torch.equal(channel[inside], batch.image[:, modality][inside])


def test_a_label_of_classes_loses_its_background_and_others_are_refused():
    user = classes_task(2, 32, 2)
    network = build(painted(user, tuple(user.regions)))
    masks = network.masks(make_batch(user))
    assert torch.equal(masks, make_batch(user).label[:, 1:] > 0.5)
    other = make_batch(classes_task(2, 32, 4))
    with pytest.raises(BadRun, match="a painter of 2 regions was shown 5"):
        network(other)


def test_controls_gather_round_what_was_seen():
    """Two kinds of lesion, dark and bright: two centres, each a histogram."""
    network = build(classes_task(2, 32, 1), SMALL + ",controls=2")
    dark, bright = torch.zeros(2, 16), torch.zeros(2, 16)
    dark[1, 3], bright[1, 12] = 1, 1
    for _ in range(20):
        network.remember(torch.stack([dark, bright]))
    assert sorted(network.centres[:, 1].argmax(-1).tolist()) == [3, 12]
    assert torch.allclose(network.centres[:, 1].sum(-1), torch.ones(2))
    drawn = network.drawn(64, torch.Generator().manual_seed(0))
    assert set(drawn[:, 1].argmax(-1).tolist()) == {3, 12}
    assert torch.allclose(drawn[:, 1].sum(-1), torch.ones(64))
    assert not drawn[:, 0].any()  # of the background nothing was seen


def test_without_a_label_nothing_is_painted():
    task = classes_task(2, 32, 1)
    network, batch = build(task), make_batch(task)
    bare = batch.but(label=batch.image.new_zeros(2, 0))
    assert torch.equal(network(bare)[0], batch.image.expand(-1, 2, -1, -1))
