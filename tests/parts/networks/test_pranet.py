"""PraNet: the published size, what reverse attention erases, and what a block sees."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.receptive_field import ReceptiveField
from oncoseg.blocks.res2net import Res2Block
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

CLASSIFIER = 2048 * 1000 + 1000  # of the published backbone; nothing reads it


def one_region(size=64):
    """A single output, as the paper has it."""
    regions = {"polyp": ("head", "stalk")}
    labels = {"head": 1, "stalk": 2}
    return Task("t", ("r", "g", "b"), labels, regions, (1.0,) * 2, (size,) * 2, ((2, 2),) * 3)


def built(task, options="width=8,units=1x1x1x1"):
    torch.manual_seed(0)
    return registry.build("networks", f"pranet:{options}", task)


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        network = built(one_region(352), "width=64,units=3x4x6x3")
    count = sum(value.numel() for value in network.parameters())
    assert count + CLASSIFIER == 32_547_319
    assert list(network.widths) == [256, 512, 1024, 2048]


def test_what_was_found_is_erased():
    logits = torch.randn(2, 1, 5, 5)
    torch.testing.assert_close(built(one_region()).reverse(logits), 1 - torch.sigmoid(logits))
    regions = built(regions_task(2)).reverse(torch.full((1, 3, 4, 4), -50.0))
    torch.testing.assert_close(regions, torch.ones(1, 1, 4, 4))
    one = torch.cat([torch.zeros_like(logits), logits], dim=1)  # background and one class
    reverse = built(classes_task(2, classes=1)).reverse(one)
    torch.testing.assert_close(reverse, 1 - torch.sigmoid(logits))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_stage_adds_to_the_map_before_it_and_sees_nothing_where_that_is_sure(dims):
    task = classes_task(dims, 32, classes=1)
    network, batch = built(task).train(), make_batch(classes_task(dims, 32, classes=1))
    seen = []
    network.refine[0].register_forward_hook(lambda module, given, found: seen.append(given[0]))
    pyramid = network.encode(batch)
    assert len(network.decode(pyramid, batch)) == 4
    assert seen[-1].abs().sum() > 0
    network.refine[1].register_forward_hook(lambda module, given, found: found * 0 + sure(found))
    network.decode(pyramid, batch)
    assert not seen[-1].any()


def sure(logits):
    """Nothing but the last class."""
    return torch.tensor([-1e4, 1e4]).view(1, 2, *(1,) * (logits.ndim - 2))


def test_a_field_is_as_wide_as_its_longest_branch():
    torch.manual_seed(0)
    field = ReceptiveField(2, 1, 4).eval()
    assert not any(isinstance(module, torch.nn.ReLU) for module in field.modules())
    image = torch.zeros(1, 1, 31, 31, requires_grad=True)
    field.joined(torch.cat([b(image) for b in field.branches], 1))[0, :, 15, 15].sum().backward()
    far = torch.nonzero(image.grad[0, 0]) - 15
    assert far.abs().max() == 3 + 7 + 1  # half the line, the dilation, the convolution that joins


def test_each_group_of_channels_sees_a_voxel_further():
    torch.manual_seed(0)
    block = Res2Block(2, 64, 16, 1, 4, first=False).eval()
    seen = []
    block.leave.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    image = torch.randn(1, 64, 15, 15, requires_grad=True)
    block(image)
    for place, reach in enumerate((1, 2, 3, 0)):  # the last group is passed on as it is
        total = seen[0][0, place * block.inner : (place + 1) * block.inner, 7, 7].sum()
        (gradient,) = torch.autograd.grad(total, image, retain_graph=True)
        assert (torch.nonzero(gradient[0].abs().sum(0)) - 7).abs().max() == reach


def test_four_stages_are_asked_for():
    with pytest.raises(BadOption, match="four units"):
        built(classes_task(2), "units=2x2")
