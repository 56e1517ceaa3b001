"""nnU-Net's networks: the published numbers of parameters, its kernels, its ensemble."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch


def planned(dims, inputs, outputs, levels, spacing=1.0):
    task = classes_task(dims, classes=outputs - 1)
    names = tuple(f"m{number}" for number in range(inputs))
    strides = ((2,) * dims,) * levels
    return replace(task, modalities=names, strides=strides, spacing=(spacing,) * dims)


@pytest.mark.parametrize(
    ("spelled", "task", "count"),
    [
        ("nnunet", planned(3, 1, 14, 5), 31_205_254),
        ("nnunet", planned(2, 3, 8, 7), 46_337_272),
        ("nnunet:residual=true", planned(3, 1, 14, 5), 102_359_430),
        ("nnunet:residual=true", planned(3, 1, 14, 6), 141_903_124),
    ],
    ids=["3-D", "2-D", "ResEnc-M", "ResEnc-L"],
)
def test_numbers_of_parameters_are_those_published(spelled, task, count):
    with torch.device("meta"):
        network = registry.build("networks", spelled, task)
    assert sum(value.numel() for value in network.parameters()) == count


def test_kernels_are_flat_until_voxels_are_nearly_cubes():
    """As nnU-Net plans prostate MRI, 3.6 x 0.62 x 0.62 mm: two flat stages, then cubes."""
    task = replace(
        planned(3, 2, 3, 4),
        spacing=(3.6, 0.62, 0.62),
        strides=((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    )
    network = registry.build("networks", "nnunet:width=4", task)
    sizes = [stage[0][0].kernel_size for stage in network.members[0].encoder]
    assert sizes == [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert [stage[0][0].kernel_size for stage in network.members[0].decoder] == sizes[:-1]


def test_options_are_those_of_a_plan():
    task = planned(2, 1, 3, 2)
    spelled = "nnunet:widths=4x6x10,blocks=1x2x3,decoder=2x1,kernels=13x33x55"
    network = registry.build("networks", spelled, task).eval()
    member = network.members[0]
    assert [len(stage) for stage in member.encoder] == [1, 2, 3]
    assert [len(stage) for stage in member.decoder] == [1, 2]  # finest first, theirs coarsest first
    assert [level.shape[1] for level in network.encode(make_batch(task))] == [4, 6, 10]
    assert member.encoder[2][1][0].kernel_size == (5, 5)


def test_members_are_averaged_in_their_logits():
    task = planned(2, 1, 3, 2)
    both = registry.build("networks", "nnunet:width=4,members=2", task).eval()
    batch, answers = make_batch(task), []
    for member in both.members:
        alone = registry.build("networks", "nnunet:width=4", task).eval()
        alone.members[0].load_state_dict(member.state_dict())
        answers.append(alone(batch)[0])
    assert torch.allclose(both(batch)[0], (answers[0] + answers[1]) / 2, atol=1e-6)
    assert not torch.allclose(answers[0], answers[1], atol=1e-3)


def test_all_levels_but_the_coarsest_are_supervised():
    task = planned(2, 1, 3, 3)
    network = registry.build("networks", "nnunet:width=4", task).train()
    assert [level.shape[2] for level in network(make_batch(task))] == [32, 16, 8]


@pytest.mark.parametrize(
    "options", ["widths=4x8", "kernels=333x333x333", "members=0", "blocks=0x1x1"]
)
def test_options_that_do_not_fit_the_plan_are_refused(options):
    with pytest.raises(BadOption, match="Nnunet"):
        registry.build("networks", f"nnunet:{options}", planned(2, 1, 3, 2))


def test_strided_blocks_project_a_strided_shortcut_and_have_no_stem():
    task = planned(3, 2, 3, 2)
    spelled = "nnunet:widths=4x4x6,blocks=1x1x1,decoder=2x2,residual=true,strided=true"
    member = registry.build("networks", spelled, task).eval().members[0]
    block, image = member.encoder[1][0], torch.randn(1, 4, 6, 6, 6)
    assert isinstance(member.stem, torch.nn.Identity)
    torch.nn.init.ones_(block.second[1].weight)
    conv, norm = block.project
    assert conv.weight.shape == (4, 4, 1, 1, 1)
    short = norm(torch.nn.functional.conv3d(image, conv.weight, stride=2))
    expected = torch.nn.functional.leaky_relu(block.second(block.first(image)) + short, 0.01)
    assert torch.allclose(block(image), expected, atol=1e-6)
    with pytest.raises(BadOption, match="strided for residual blocks alone"):
        registry.build("networks", "nnunet:strided=true", task)
