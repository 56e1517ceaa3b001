"""ResUNet++: the modules of the paper, where they stand, and the published size."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.aspp import Aspp
from oncoseg.blocks.attention import SqueezeExcitation
from oncoseg.case import Task
from worlds import classes_task, make_batch


def built(options=""):
    torch.manual_seed(0)
    return registry.build("networks", f"resunetpp:widths=4x8x8x8{options}", classes_task(2, 32))


def test_modules_and_parameters_are_those_of_the_public_code():
    names = ("r", "g", "b")
    task = Task("t", names, {"a": 1}, {"a": ("a",)}, (1.0,) * 2, (256,) * 2, ((2, 2),) * 3)
    with torch.device("meta"):
        network = registry.build("networks", "resunetpp", task)
    modules = list(network.modules())
    assert sum(isinstance(module, SqueezeExcitation) for module in modules) == 7
    assert sum(isinstance(module, Aspp) for module in modules) == 2
    held = [*network.parameters(), *(v for n, v in network.named_buffers() if "running" in n)]
    further = (task.outputs - 1) * 17  # the public one has one output
    assert sum(value.numel() for value in held) - further == 4_070_385


@pytest.mark.parametrize("rates", [(0, 1, 2), (0, 2, 3, 4)])
def test_a_pyramid_sees_as_far_as_its_rates(rates):
    torch.manual_seed(0)
    pyramid = Aspp(2, 1, 4, rates, norm="", act="")
    features = torch.zeros(1, 1, 17, 17, requires_grad=True)
    pyramid(features)[0, :, 8, 8].sum().backward()
    far = torch.nonzero(features.grad[0, 0].abs() > 0) - 8
    assert set(far.abs().amax(dim=1).tolist()) == set(rates)


def test_a_gate_scales_what_comes_from_below():
    network, batch = built().eval(), make_batch(classes_task(2, 32))
    pyramid = network.encode(batch)
    below = torch.zeros_like(network.bridge(pyramid[-1]))
    assert not network.gates[-1](pyramid[-2], below).any()
    # The skip of a level is heard by its gate too, not by the decoder alone.
    ones = torch.ones_like(below)
    assert not torch.allclose(
        network.gates[-1](pyramid[-2], ones), network.gates[-1](0 * pyramid[-2], ones)
    )
