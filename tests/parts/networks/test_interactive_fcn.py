"""Interactive FCN: clicks are Gaussian blobs beside the image, and no click is a click of zeros."""

import math

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.clicks import blobs
from oncoseg.case import Prompts
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

TASK = classes_task(2, classes=1)


def built(task=TASK):
    torch.manual_seed(0)
    return registry.build(
        "networks", "interactive_fcn:network=(unet:width=8,blocks=1)", task
    ).eval()


def clicked(batch, points, foreground):
    shape = (len(batch), -1)
    said = Prompts(
        torch.tensor(points, dtype=torch.float32).expand(len(batch), -1, -1),
        torch.tensor(foreground, dtype=torch.float32).expand(*shape),
        batch.prompts.boxes,
        batch.prompts.mask,
    )
    return batch.but(prompts=said)


def test_the_inner_network_sees_image_and_blobs(monkeypatch):
    network, seen = built(regions_task(2)), []
    encode = network.network.encode
    monkeypatch.setattr(network.network, "encode", lambda b: seen.append(b) or encode(b))
    batch = make_batch(regions_task(2))
    network(clicked(batch, [[4.0, 5.0], [20.0, 8.0], [9.0, 9.0]], [1.0, 0.0, -1.0]))
    image = seen[0].image
    assert torch.equal(image[:, :4], batch.image)
    assert seen[0].present.all()
    inside, outside = image[:, 4], image[:, 5]
    assert inside[0, 4, 5] == outside[0, 20, 8] == 1
    assert float(inside[0, 6, 5]) == pytest.approx(math.exp(-0.5), abs=1e-6)  # sigma 2 voxels
    assert float(outside[1, 22, 10]) == pytest.approx(math.exp(-1), abs=1e-6)
    assert inside[0, 20, 8] < 1e-6
    assert image[:, 4:, 9, 9].max() < 0.1  # a point of kind -1 is none


def test_blobs_do_not_add_up():
    points = torch.tensor([[[3.0, 3.0, 3.0], [3.0, 3.0, 3.0]]])
    assert blobs(points, torch.ones(1, 2).bool(), (8, 8, 8), 2.0).max() == 1
    assert not blobs(points, torch.zeros(1, 2).bool(), (8, 8, 8), 2.0).any()


def test_encode_is_the_image_and_decode_needs_nothing_else_of_it():
    network, batch = built(), make_batch(TASK)
    pyramid = network.encode(batch)
    assert torch.equal(pyramid[0], torch.cat([batch.image, torch.ones_like(batch.image)], 1))
    asked = clicked(batch, [[4.0, 5.0]], [1.0])
    blank = asked.but(image=torch.zeros_like(asked.image))
    assert torch.equal(network.decode(pyramid, blank)[0], network(asked)[0])
    assert not torch.equal(network(asked)[0], network(batch)[0])


def test_a_sigma_of_zero_is_refused():
    with pytest.raises(BadOption, match="sigma above 0"):
        registry.build("networks", "interactive_fcn:sigma=0", TASK)
