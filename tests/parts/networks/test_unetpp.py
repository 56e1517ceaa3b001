"""UNet++: the published size, and depths that are parts of the whole."""

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch


def pictures(channels=3):
    names = tuple(f"c{number}" for number in range(channels))
    task = Task("t", names, {"a": 1}, {"a": ("a",)}, (1.0,) * 2, (96,) * 2, ((2, 2),) * 4)
    assert task.outputs in (1, 2)
    return task


def count(network):
    return sum(value.numel() for value in network.parameters())


def built(spelled, task):
    torch.manual_seed(0)
    return registry.build("networks", spelled, task)


def test_parameters_are_those_of_the_paper():
    task = pictures()
    with torch.device("meta"):
        network = registry.build("networks", "unetpp:width=32", task)
    heads = (task.outputs - 1) * 4 * 33  # the paper's heads have one output
    assert (count(network) - heads) / 1e6 == pytest.approx(9.04, rel=0.005)


def test_each_depth_is_a_part_of_the_whole_with_the_same_answer():
    task = classes_task(2, 32)
    whole, batch = built("unetpp:width=4", task).eval(), make_batch(task)
    with torch.no_grad():
        for stage in whole.modules():  # evaluated, but with the heads of all depths
            stage.training = False
        whole.training = True
        every = whole(batch)[::-1]
        sizes = []
        for depth in (1, 2, 3):
            pruned = built(f"unetpp:width=4,depth={depth}", task).eval()
            own = pruned.state_dict()
            pruned.load_state_dict({name: whole.state_dict()[name] for name in own})
            assert torch.equal(pruned(batch)[0], every[depth - 1])
            sizes.append(count(pruned))
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == count(whole)


def test_a_depth_that_is_not_there_is_refused():
    with pytest.raises(BadOption, match="depth of 1 to 3, or 0 for all, not 4"):
        built("unetpp:depth=4", classes_task(2))
