"""QTSeg: the published size, a token a class, masks that follow their tokens."""

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

SMALL = "qtseg:width=4,heads=2,hidden=8,depths=1x1x1"


def parameters(module):
    return sum(value.numel() for value in module.parameters())


def test_parameters_are_the_published_ones():
    regions, names = {"lesion": ("lesion",)}, ("r", "g", "b")
    task = Task("t", names, {"lesion": 1}, regions, (1.0,) * 2, (512,) * 2, ((2, 2),) * 4)
    with torch.device("meta"):
        network = registry.build("networks", "qtseg:width=16,hidden=2048", task)
    assert parameters(network.encoder) == 2_259_536
    assert parameters(network.bridge) == 279_424
    assert parameters(network) == 9_214_850


@pytest.mark.parametrize("task", [classes_task(2, 64, 3), regions_task(2, 64)])
def test_there_is_a_token_for_each_output(task):
    network = registry.build("networks", SMALL, task).eval()
    assert len(network.tokens) == task.outputs
    assert all(len(each) == task.outputs for each in network.think)
    assert network(make_batch(task))[0].shape[1] == task.outputs


def test_masks_follow_their_tokens():
    torch.manual_seed(0)
    task = classes_task(2, 64, 3)
    network = registry.build("networks", SMALL, task).eval().double()
    batch = make_batch(task)
    batch = batch.but(image=batch.image.double())
    before, order = network(batch)[0], [2, 0, 3, 1]
    network.tokens.data = network.tokens.data[order]
    assert not torch.allclose(network(batch)[0], before[:, order])
    network.think = torch.nn.ModuleList(
        torch.nn.ModuleList([each[place] for place in order]) for each in network.think
    )
    torch.testing.assert_close(network(batch)[0], before[:, order])


def test_every_level_is_told_of_every_other():
    torch.manual_seed(0)
    network = registry.build("networks", SMALL, classes_task(2, 64)).eval()
    pyramid = [torch.randn(1, 16 * 2**level, 16 // 2**level, 16 // 2**level) for level in range(3)]
    before = network.bridge(pyramid)
    assert [each.shape for each in before] == [each.shape for each in pyramid]
    for source in range(3):
        changed = [each + (place == source) for place, each in enumerate(pyramid)]
        after = network.bridge(changed)
        assert not any(torch.allclose(one, other) for one, other in zip(before, after))


def test_tokens_and_features_read_each_other():
    torch.manual_seed(0)
    block = registry.build("networks", SMALL, classes_task(2, 64)).levels[0].eval()
    tokens, features = torch.randn(1, 2, 16), torch.randn(1, 16, 4, 4)
    before = block(tokens, features)
    assert not torch.allclose(block(tokens, features.flip(2))[0], before[0])
    assert not torch.allclose(block(tokens + 1, features)[1], before[1])


def test_any_size_comes_back_whole_and_bad_options_are_refused():
    task = classes_task(2, 37)
    assert registry.build("networks", SMALL, task)(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="heads do not divide a width"):
        registry.build("networks", "qtseg:width=6", task)
