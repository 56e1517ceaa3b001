"""H-DenseUNet: the published sizes, slices that come back in place, two ways for the gradient."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.densenet import DenseLayer
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

PUBLISHED = (
    "width=96,growth=48x32,flat=6x12x36x24,volume=3x4x12x8,features=64,factor=250,dropout=0.3"
)
SMALL = "width=4,growth=2x2,flat=1x1x1x1,volume=1x1x1x1,features=4"


def built(task, options=SMALL):
    torch.manual_seed(0)
    return registry.build("networks", f"h_denseunet:{options}", task)


def count(*modules):
    return sum(value.numel() for module in modules for value in module.parameters())


def test_parameters_are_those_of_the_public_code():
    with torch.device("meta"):
        network = built(classes_task(3, 64), PUBLISHED)  # liver and tumour, and so three outputs
    flat = count(network.flat, network.flat_up, network.flat_head)
    assert flat == pytest.approx(49.53e6, rel=1e-3)
    assert count(network.volume, network.volume_up) == pytest.approx(15.98e6, rel=1e-3)
    assert count(network.fuse, network.head) == pytest.approx(0.11e6, rel=1e-2)
    assert list(network.flat.widths) == [96, 384, 768, 2112, 2208]
    assert list(network.volume.widths) == [96, 192, 224, 496, 504]


def test_a_layer_keeps_all_that_came_before_it():
    torch.manual_seed(0)
    layer, features = DenseLayer(2, 6, 3), torch.randn(2, 6, 5, 5)
    found = layer(features)
    assert found.shape == (2, 9, 5, 5)
    assert torch.equal(found[:, :6], features)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_seen_with_their_neighbours_and_come_back_in_place(axis):
    spacing = tuple(5.0 if place == axis else 1.0 for place in range(3))
    task = replace(classes_task(3, 32), spacing=spacing)
    network = built(task).eval()
    assert network.axis == axis
    image = torch.randn(2, 1, *(4 if place == axis else 32 for place in range(3)))
    features, scores = network.slices(image)
    rows = image.unbind(2 + axis)
    for place in range(4):
        near = [rows[max(place - 1, 0)], rows[place], rows[min(place + 1, 3)]]
        alone = network.flat_up(network.flat(torch.cat(near, dim=1)))
        torch.testing.assert_close(features.select(2 + axis, place), alone, rtol=1e-4, atol=1e-4)
        told = network.flat_head(alone)
        torch.testing.assert_close(scores.select(2 + axis, place), told, rtol=1e-4, atol=1e-4)


def reached(network, pyramid, batch):
    """Parameters with a gradient that is not 0, after the sum of squared logits."""
    network.zero_grad()
    network.decode(pyramid, batch)[0].square().sum().backward()
    values = network.named_parameters()
    return {name for name, value in values if value.grad is not None and value.grad.any()}


def test_the_2d_part_learns_from_the_fusion_and_from_what_the_3d_part_sees():
    task = classes_task(3, 32)
    network, batch = built(task).train(), make_batch(task)
    stacked, *volume = network.encode(batch)
    by_fusion = reached(network, [stacked, *(level.detach() for level in volume)], batch)
    assert any(name.startswith("flat.stem") for name in by_fusion)
    assert not any(name.startswith(("volume.", "flat_head")) for name in by_fusion)
    stacked, *volume = network.encode(batch)
    by_scores = reached(network, [stacked.detach(), *volume], batch)
    assert any(name.startswith("flat.stem") for name in by_scores)
    assert any(name.startswith("flat_head") for name in by_scores)


def test_scores_enter_times_their_factor():
    task = classes_task(3, 32)
    batch = make_batch(task)
    deaf, network = built(task, f"{SMALL},factor=0").eval(), built(task).eval()
    changed = [{}, {}]
    for found, one in zip(changed, (deaf, network)):
        found["before"] = one.encode(batch)[1]
        one.flat_head.bias.data += 1
        found["after"] = one.encode(batch)[1]
    assert torch.equal(changed[0]["before"], changed[0]["after"])
    assert not torch.equal(changed[1]["before"], changed[1]["after"])


def test_an_image_has_the_2d_part_alone():
    task = classes_task(2, 32)
    network = built(task)
    assert not any(name.startswith(("volume", "fuse")) for name, _ in network.named_parameters())
    assert network.flat.stem[0].in_channels == task.inputs


def test_four_units_each_are_asked_for():
    with pytest.raises(BadOption, match="four units each"):
        built(classes_task(3), "flat=1x1")
