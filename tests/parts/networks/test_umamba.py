"""U-Mamba: the published sizes, and a patch that must not change."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadData, BadOption
from worlds import classes_task, make_batch, planned


@pytest.mark.parametrize(
    ("where", "patch", "classes", "millions"),
    [
        ("bot", (128, 128, 128), 14, 42.130),
        ("enc", (128, 128, 128), 14, 42.761),
        ("bot", (512, 512), 3, 64.807),
        ("enc", (512, 512), 3, 64.024),
    ],
)
def test_parameters_are_the_published_codes(where, patch, classes, millions):
    task = planned(patch, classes)
    with torch.device("meta"):
        network = registry.build("networks", f"umamba:where={where}", task)
    # Our stem is also told where the modality is present: one more input to two convolutions.
    presence = 32 * (3 ** len(patch) + 1)
    count = sum(value.numel() for value in network.parameters()) - presence
    assert round(count / 1e6, 3) == millions


@pytest.mark.parametrize("dims", [2, 3])
def test_another_size_than_the_patch_is_refused_where_channels_are_tokens(dims):
    task, other = classes_task(dims, 16), classes_task(dims, 24)
    fixed = registry.build("networks", "umamba:width=8,where=enc", task).eval()
    assert any(layer.turned for layer in fixed.layers.values())
    fixed(make_batch(task))
    with pytest.raises(BadData, match=r"built for patches of 16 x 16.* cannot see 24 x 24"):
        fixed(make_batch(other))
    free = registry.build("networks", "umamba:width=8,where=bot", task).eval()
    assert free(make_batch(other))[0].shape[2:] == other.patch


def test_layers_stand_where_they_are_asked_for():
    def levels(where, dims):
        network = registry.build("networks", f"umamba:width=8,where={where}", classes_task(dims))
        return sorted(network.layers)

    assert levels("bottleneck", 3) == ["3"]
    assert levels("encoder", 2) == ["1", "3"]
    assert levels("encoder", 3) == ["0", "1", "2", "3"]
    with pytest.raises(BadOption, match="where of bottleneck, bot, encoder, enc, not 'middle'"):
        levels("middle", 2)


def test_a_layer_is_told_of_all_voxels_before_in_raster_order():
    torch.manual_seed(0)
    network = registry.build("networks", "umamba:width=8", classes_task(3))
    features = torch.randn(1, 64, 4, 4, 4, requires_grad=True)
    network.layers["3"](features)[0, :, 2, 1, 3].sum().backward()
    heard = features.grad[0].abs().sum(0).flatten() > 0
    place = (2 * 4 + 1) * 4 + 3
    assert heard[: place + 1].all()
    assert not heard[place + 1 :].any()


def test_odd_sizes_come_back_whole():
    task = classes_task(2, 37)
    network = registry.build("networks", "umamba:width=8", task).eval()
    assert network(make_batch(task))[0].shape[2:] == (37, 37)


def test_it_learns_under_half_precision():
    torch.manual_seed(0)
    task = classes_task(2, 16)
    network, batch = registry.build("networks", "umamba:width=8,where=enc", task), make_batch(task)
    with torch.autocast("cpu", torch.bfloat16):
        sum(level.square().mean() for level in network(batch)).backward()
    for name, value in network.named_parameters():
        assert torch.isfinite(value.grad).all(), name
