"""The residual attention U-Net: gates, what its options leave out, weights of other wounds."""

from pathlib import Path

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadOption
from oncoseg.transfer import transfer
from worlds import classes_task, make_batch

SMALL = "res_attn_unet_pu:widths=4x8x8x8"


def built(options="", task=None, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", f"{SMALL}{options}", task or classes_task(2, 32))


def count(network):
    return sum(value.numel() for value in network.parameters())


@pytest.mark.parametrize("dims", [2, 3])
def test_gates_lie_on_every_skip_between_0_and_1(dims):
    task = classes_task(dims, 16)
    network, heard = built(task=task).eval(), []
    for gate in network.gates:
        gate.register_forward_hook(lambda gate, given, _: heard.append(gate.alpha(*given).detach()))
    network(make_batch(task))
    assert len(heard) == len(task.strides)
    assert all(bool(((alpha >= 0) & (alpha <= 1)).all()) for alpha in heard)
    assert all(float(alpha.std()) > 0 for alpha in heard)


def test_without_gates_and_shortcuts_it_is_a_u_net():
    """Its size is that of a U-Net with norms, 31 million; a gate and a shortcut have their own."""
    task = classes_task(2, 64, classes=1)
    task = Task(
        "t", ("r", "g", "b"), task.labels, task.regions, (1.0,) * 2, (64, 64), ((2, 2),) * 4
    )
    wide = "res_attn_unet_pu:widths=64x128x256x512x1024"
    with torch.device("meta"):
        plain, gated, whole = (
            registry.build("networks", f"{wide}{options}", task)
            for options in (",gates=false,residual=false", ",residual=false", "")
        )
    widths = (64, 128, 256, 512)
    norms = 2 * sum(2 * width for width in (*widths, *widths, 1024))  # four convolutions a level
    assert count(plain) == 31_031_810 + norms
    gates = sum(2 * (width * width // 2 + 3 * width // 2) + width // 2 + 3 for width in widths)
    assert count(gated) - count(plain) == gates
    pairs = [(3, 64), *zip(widths, (*widths[1:], 1024)), *((2 * width, width) for width in widths)]
    assert count(whole) - count(gated) == sum((before + 3) * after for before, after in pairs)


def test_all_but_the_head_starts_from_another_wound():
    def wounds(kind, regions):
        labels = {name: place + 1 for place, name in enumerate(regions)}
        members = {name: (name,) for name in regions}
        return Task(kind, ("r", "g", "b"), labels, members, (1.0,) * 2, (32,) * 2, ((2, 2),) * 3)

    skin, ulcer = wounds("skin", ["wound"]), wounds("ulcer", ["granulation", "slough"])
    old, new = built(task=skin), built(task=ulcer, seed=1)
    report = transfer(Path("skin.onco"), old.state_dict(), SMALL, skin, new, ulcer)
    assert set(report.initialised) == {"head.weight", "head.bias"}
    weights = old.state_dict()
    assert all(torch.equal(new.state_dict()[name], weights[name]) for name in report.loaded)
    assert len(report.loaded) == len(weights) - 2


def test_widths_are_refused_that_leave_nothing_to_a_gate():
    with pytest.raises(BadOption, match="at least 2"):
        registry.build("networks", "res_attn_unet_pu:widths=1x2", classes_task(2, 32))
