"""U-Net MSS: the published size, and scales that are all compared at full size."""

import torch

from oncoseg import registry
from oncoseg.case import Task
from worlds import classes_task, make_batch

PUBLISHED = "unet_mss:widths=64x128x256x512x1024"


def built(spelled="unet_mss:widths=4x8x8x8", task=None):
    torch.manual_seed(0)
    return registry.build("networks", spelled, task or classes_task(2, 32))


def test_parameters_are_those_of_the_public_code():
    task = Task("t", ("mra",), {"a": 1}, {"a": ("a",)}, patch=(64,) * 3, strides=((2,) * 3,) * 4)
    with torch.device("meta"):
        network = built(PUBLISHED, task)
    found = sum(value.numel() for value in network.parameters())
    heads = sum(value.numel() for value in network.heads.parameters())
    # Its two coarser heads are two convolutions each; the finest has one output.
    assert found - heads + 65 == 103_546_883 - 3_489 - 6_945


def test_every_scale_is_of_full_size_and_coarser_ones_are_repeated_voxels():
    task = classes_task(2, 32)
    network, batch = built(task=task).train(), make_batch(task)
    logits = network(batch)
    assert [tuple(level.shape[2:]) for level in logits] == [(32, 32)] * 3
    for step, level in zip((2, 4), logits[1:]):
        kept = level[..., ::step, ::step]
        assert torch.equal(level, kept.repeat_interleave(step, 2).repeat_interleave(step, 3))
    assert len(network.eval()(batch)) == 1


def test_a_vessel_of_one_voxel_counts_at_every_scale():
    """Averaged to a quarter of the size it would be a sixteenth of a voxel."""
    task = classes_task(2, 32, classes=1)
    label = torch.zeros(1, 2, 32, 32)
    label[:, 1, 5] = 1
    label[:, 0] = 1 - label[:, 1]
    logits = built(task=task).train()(make_batch(task, size=1))
    loss = registry.build("losses", "spockmip", exclusive=True)
    for level in logits:
        level.retain_grad()
        loss(level, label, torch.ones(1, 1, 32, 32)).backward(retain_graph=True)
        assert (level.grad[:, 1, 5] < 0).all()  # a step along it makes the vessel more likely
