"""xLSTM-UNet: the published sizes, and where its layers stand."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.convs import ResidualBlock
from oncoseg.case import Task
from oncoseg.errors import BadData
from oncoseg.networks.xlstm_unet import Memory
from worlds import classes_task, make_batch, planned


@pytest.mark.parametrize(
    ("where", "patch", "classes", "millions"),
    [
        ("bot", (128, 128, 128), 14, 42.097),
        ("enc", (128, 128, 128), 14, 43.706),
        ("bot", (512, 512), 3, 64.730),
        ("enc", (512, 512), 3, 64.010),
    ],
)
def test_parameters_are_the_public_codes(where, patch, classes, millions):
    with torch.device("meta"):
        network = registry.build("networks", f"xlstm_unet:where={where}", planned(patch, classes))
    # Our stem is also told where the modality is present: one more input to two convolutions.
    presence = 32 * (3 ** len(patch) + 1)
    memories = [layer for layer in network.modules() if isinstance(layer, Memory)]
    unused = sum(2 * layer.vil.norm.weight.numel() for layer in memories)
    count = sum(value.numel() for value in network.parameters()) - presence + unused
    assert round(count / 1e6, 3) == millions


def test_layers_stand_where_the_public_code_has_them():
    def kinds(where, dims):
        network = registry.build("networks", f"xlstm_unet:width=8,where={where}", deep(dims))
        return {name: type(layer) for name, layer in network.layers.items()}

    def deep(dims):
        labels, strides = {"a": 1}, ((2,) * dims,) * 5
        return Task("t", ("m",), labels, {"a": ("a",)}, (1.0,) * dims, (64,) * dims, strides)

    block, memory = ResidualBlock, Memory
    assert kinds("bot", 3) == {"5": memory}
    assert kinds("enc", 2) == {"1": block, "3": memory, "5": memory}
    assert kinds("enc", 3) == dict(zip("012345", [block] * 3 + [memory] * 3))


def test_another_size_than_the_patch_is_refused_where_channels_are_tokens():
    task, other = classes_task(2, 16), classes_task(2, 24)
    fixed = registry.build("networks", "xlstm_unet:width=8,where=enc,heads=2", task).eval()
    fixed(make_batch(task))
    with pytest.raises(BadData, match=r"built for patches of 16 x 16.* cannot see 24 x 24"):
        fixed(make_batch(other))


def test_it_learns_under_half_precision():
    torch.manual_seed(0)
    task = classes_task(2, 16)
    network = registry.build("networks", "xlstm_unet:width=8,where=enc,heads=2", task)
    with torch.autocast("cpu", torch.bfloat16):
        sum(level.square().mean() for level in network(make_batch(task))).backward()
    for name, value in network.named_parameters():
        assert torch.isfinite(value.grad).all(), name
