"""FuseUNet: the published size, steps of the promised order, exact where slopes are constant."""

import math

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.multistep import explicit, implicit
from oncoseg.case import Task
from oncoseg.networks.fuseunet import slope
from worlds import classes_task, make_batch


def test_parameters_are_those_of_the_public_code():
    labels = {"a": 1, "b": 2, "c": 3}
    regions = {name: (name,) for name in labels}
    names = ("t1", "t1ce", "t2", "flair")
    task = Task("t", names, labels, regions, (1.0,) * 3, (128,) * 3, ((2, 2, 2),) * 5)
    with torch.device("meta"):
        network = registry.build("networks", "fuseunet:width=32", task)
    sizes = {
        part: sum(value.numel() for value in getattr(network, part).parameters())
        for part in ("encoder", "narrow", "heads")
    }
    assert task.outputs == 4
    assert sizes["encoder"] / 1e6 == pytest.approx(14.028, rel=0.005)
    assert sum(sizes.values()) / 1e6 == pytest.approx(14.037, rel=0.005)


def solved(count):
    """y' = -y from 1 over a time of 1, the first three slopes exact; the state after `count`."""
    step = 1 / count
    times = torch.arange(4, dtype=torch.float64) * step
    states = list(torch.exp(-times))
    slopes, state = [-value for value in states], states[-1]
    for _ in range(3, count):
        guess = explicit(state, slopes[-4:], step)
        state = implicit(state, [*slopes[-3:], -guess], step)
        slopes.append(-state)
    return float(state)


def test_halving_the_step_divides_the_error_as_order_4_does():
    errors = [abs(solved(count) - math.exp(-1)) for count in (16, 32, 64)]
    for large, small in ((errors[0], errors[1]), (errors[1], errors[2])):
        assert 14 < large / small < 40


@pytest.mark.parametrize("known", [1, 2, 3, 4])
def test_constant_slopes_are_integrated_exactly(known):
    one = torch.ones((), dtype=torch.float64)
    assert float(explicit(0 * one, [2 * one] * known, 0.25)) == pytest.approx(0.5, abs=1e-12)
    assert float(implicit(0 * one, [2 * one] * (known + 1), 0.25)) == pytest.approx(0.5, abs=1e-12)


def test_the_first_step_is_eulers_corrected_by_the_next_skip():
    torch.manual_seed(0)
    task = classes_task(2, 16)
    network, batch = registry.build("networks", "fuseunet:width=4", task), make_batch(task)
    pyramid = network.encode(batch)
    logits = network.decode(pyramid, batch)
    assert len(logits) == len(pyramid)
    skips = [
        torch.nn.functional.interpolate(layer(features), size=(16, 16), mode="bilinear")
        for layer, features in zip(network.narrow, pyramid)
    ]
    first = slope(skips[-1], 0 * skips[-1])
    guess = first / len(pyramid)
    corrected = (first + slope(skips[-2], guess)) / 2 / len(pyramid)
    torch.testing.assert_close(logits[-1], network.heads[0](corrected))
