"""SAM decoder: prompts steer the mask, padding does not, and any encoder will do."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Prompts
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

TASK = classes_task(2, classes=1)
SMALL = "encoder=(unet:width=8,blocks=1),width=32"


def built(options=SMALL, task=TASK):
    torch.manual_seed(0)
    return registry.build("networks", f"sam_decoder:{options}", task).eval()


def asked(batch, points=(), foreground=(), boxes=()):
    """The batch with the same prompts for every item."""
    size, dims = len(batch), batch.image.ndim - 2
    said = Prompts(
        torch.tensor(points, dtype=torch.float32).reshape(1, -1, dims).expand(size, -1, -1),
        torch.tensor(foreground, dtype=torch.float32).reshape(1, -1).expand(size, -1),
        torch.tensor(boxes, dtype=torch.float32).reshape(1, -1, 2, dims).expand(size, -1, -1, -1),
        batch.prompts.mask,
    )
    return batch.but(prompts=said)


def test_padding_changes_nothing():
    network, batch = built(), make_batch(TASK)
    plain = network(asked(batch, [[5, 6], [20, 3]], [1, 0], [[[2, 3], [9, 9]]]))[0]
    padded = asked(
        batch,
        [[5, 6], [9, 9], [20, 3]],
        [1, -1, 0],
        [[[0, 0], [-1, -1]], [[2, 3], [9, 9]]],
    )
    assert torch.allclose(network(padded)[0], plain, atol=1e-5)
    none = asked(batch, [[7, 7]], [-1], [[[0, 0], [-1, -1]]])
    assert torch.allclose(network(none)[0], network(batch)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("points", "foreground", "boxes"),
    [([[5, 6]], [1], []), ([[5, 6]], [0], []), ([[25, 6]], [1], []), ([], [], [[[2, 3], [9, 9]]])],
)
def test_every_prompt_is_read(points, foreground, boxes):
    network, batch = built(), make_batch(TASK)
    plain = network(asked(batch, [[5, 9]], [1]))[0]
    assert not torch.allclose(network(asked(batch, points, foreground, boxes))[0], plain, atol=1e-4)


def test_the_mask_so_far_is_read_and_an_empty_one_is_not_none():
    network, batch = built(), make_batch(TASK)
    empty = torch.zeros_like(batch.label[:, :1])
    answers = [
        network(batch.but(prompts=replace(batch.prompts, mask=mask)))[0]
        for mask in (empty[:, :0], empty, batch.label[:, 1:])
    ]
    assert not torch.allclose(answers[0], answers[1], atol=1e-4)
    assert not torch.allclose(answers[1], answers[2], atol=1e-4)


def test_places_are_told_apart_by_less_than_a_voxel():
    network = built()
    places = torch.rand(200, 2)
    codes = network._code(places)
    apart = torch.cdist(codes, codes) + 9 * torch.eye(200)
    near = torch.cdist(places, places) + 9 * torch.eye(200)
    assert torch.equal(apart.argmin(1)[near.min(1).values < 0.01],
                       near.argmin(1)[near.min(1).values < 0.01])  # fmt: skip
    assert float((codes.square().sum(1) - 16).abs().max()) < 1e-4  # sin^2 + cos^2 = 1, 16 times


@torch.no_grad()
def test_a_place_attends_to_itself_from_the_start():
    network = built("encoder=(unet:width=8,blocks=1),width=64")
    axis = (torch.arange(16) + 0.5) / 16
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
    for layer in network.layers:
        for attention in (layer.image, layer.back):
            codes = network._code(grid)
            likeness = attention.ask(codes) @ attention.key(codes).T
            off = (grid[likeness.argmax(1)] - grid).abs().amax(1)
            assert (off <= 2 / 16).float().mean() > 0.9


@pytest.mark.parametrize("encoder", ["unet:width=8", "unet:width=8,residual=true"])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_any_encoder_and_any_level(encoder, level):
    network, batch = built(f"encoder=({encoder}),width=32,level={level}"), make_batch(TASK)
    assert network(batch)[0].shape == (2, 2, 32, 32)
    inner = registry.build("networks", encoder, TASK)
    kept = {name for name, _ in network.encoder.named_parameters()}
    assert kept == {name for name, _ in inner.named_parameters() if name.startswith("encoder.")}


def test_sizes_that_no_stride_divides_come_back_whole():
    task = classes_task(3, 13)
    assert built(task=task)(make_batch(task))[0].shape == (2, 3, 13, 13, 13)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(BadOption, match="width divisible by 16"):
        built("width=40")
