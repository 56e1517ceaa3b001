"""LightM-UNet: the sizes of the public code, and its layer."""

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadOption
from oncoseg.networks.lightm_unet import Layer
from worlds import classes_task


@pytest.mark.parametrize(
    ("dims", "labels", "width", "millions"),
    [(3, 2, 32, 5.016), (2, 1, 32, 5.012), (3, 2, 16, 1.345), (3, 2, 8, 0.382)],
)
def test_parameters_are_the_public_codes(dims, labels, width, millions):
    names = {f"l{value}": value for value in range(1, labels + 1)}
    regions = {name: (name,) for name in names}
    strides = ((2,) * dims,) * 3
    task = Task("t", ("m",), names, regions, (1.0,) * dims, (64,) * dims, strides)
    with torch.device("meta"):
        network = registry.build("networks", f"lightm_unet:width={width}", task)
    count = sum(value.numel() for value in network.parameters())
    # A sigmoid of one region needs one output where the public code has background as well.
    count += (labels + 1 - task.outputs) * (width + 1)
    assert round(count / 1e6, 3) == millions


def test_a_layer_without_its_scan_is_the_norm_and_a_linear_map():
    torch.manual_seed(0)
    layer, features = Layer(6, 4, 8), torch.randn(2, 6, 3, 5)
    layer.mamba.leave.weight.data.zero_()
    layer.scale.data.fill_(2.0)
    tokens = features.flatten(2).transpose(1, 2)
    expected = layer.project(layer.norm(2 * tokens)).transpose(1, 2).reshape(2, 4, 3, 5)
    torch.testing.assert_close(layer(features), expected)


def test_a_width_that_groups_do_not_divide_is_refused():
    with pytest.raises(BadOption, match="8 divides, not 12"):
        registry.build("networks", "lightm_unet:width=12", classes_task(2))
