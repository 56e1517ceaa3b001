"""STU-Net: the published numbers of parameters, and weights of shapes that no plan changes."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from oncoseg import registry
from oncoseg.blocks.strided import Strided
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

ORGANS = replace(classes_task(3, 128, classes=104), strides=((2, 2, 2),) * 5)


def count(module):
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("size", "published"),
    [("small", 14.60), ("base", 58.26), ("large", 440.30), ("huge", 1457.33)],
)
def test_numbers_of_parameters_are_those_published(size, published):
    """One modality and 104 structures, as trained on TotalSegmentator; in millions, as printed."""
    with torch.device("meta"):
        network = registry.build("networks", f"stunet:size={size}", ORGANS)
    assert round(count(network) / 1e6, 2) == published


@pytest.mark.parametrize(("spelled", "w", "d"), [("width=4", 4, 1), ("size=large,width=6", 6, 2)])
def test_each_module_has_the_parameters_of_its_formula(spelled, w, d):
    def stage(inputs, width):
        first = 27 * width * (inputs + width) + 6 * width + inputs * width + width
        return first + (d - 1) * (54 * width**2 + 6 * width)

    network = registry.build("networks", f"stunet:{spelled}", ORGANS)
    widths = [w * factor for factor in (1, 2, 4, 8, 16, 16)]
    pairs = list(itertools.pairwise(widths))
    assert list(map(count, network.encoder)) == [
        *(stage(before, after) for before, after in zip([1, *widths], widths))
    ]
    assert list(map(count, network.decoder)) == [stage(2 * fine, fine) for fine, _ in pairs]
    assert list(map(count, network.up)) == [fine * coarse + fine for fine, coarse in pairs]
    assert list(map(count, network.heads)) == [105 * (fine + 1) for fine, _ in pairs]


def test_all_weights_but_the_heads_fit_a_plan_of_other_strides_patch_spacing_and_classes():
    other = replace(
        classes_task(3, 32, classes=2),
        patch=(16, 32, 48),
        spacing=(5.0, 1.0, 1.0),
        strides=((1, 2, 2), (1, 2, 2), (2, 2, 2)),
    )
    one, two = (registry.build("networks", "stunet:width=2", task) for task in (ORGANS, other))
    shapes = [{name: v.shape for name, v in each.state_dict().items()} for each in (one, two)]
    differ = {name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name)}
    assert {name.split(".")[0] for name in differ} == {"heads"}


def test_there_are_six_stages_whatever_the_plan():
    for levels in (2, 5, 7):
        task = replace(classes_task(2, 64), strides=((2, 2),) * levels)
        network = registry.build("networks", "stunet:width=2", task).train()
        sizes = [level.shape[2] for level in network.encode(make_batch(task))]
        assert sizes == [64 // 2 ** min(level, levels) for level in range(6)]
        assert len(network(make_batch(task))) == 5


def test_up_sampling_repeats_voxels_before_the_convolution_as_well_as_after_it():
    task = replace(classes_task(3, 16), strides=((2, 2, 2),) * 3)
    network = registry.build("networks", "stunet:width=4", task)
    features = torch.randn(1, 8, 3, 4, 5)
    published = network.up[0](F.interpolate(features, scale_factor=2, mode="nearest"))
    ours = F.interpolate(network.up[0](features), size=(6, 8, 10), mode="nearest")
    assert torch.allclose(ours, published, atol=1e-6)


def test_the_shortcut_is_a_strided_convolution_without_a_norm():
    block = Strided(3, 2, 3, (1, 2, 2))
    for value in block.second.parameters():
        torch.nn.init.zeros_(value)
    image = torch.randn(1, 2, 4, 6, 8)
    expected = F.conv3d(image, block.project.weight, block.project.bias)[:, :, :, ::2, ::2]
    assert torch.allclose(block(image), F.leaky_relu(expected, 0.01), atol=1e-6)


@pytest.mark.parametrize("options", ["size=tiny", "width=-1"])
def test_what_it_is_not_is_refused(options):
    with pytest.raises(BadOption, match="Stunet"):
        registry.build("networks", f"stunet:{options}", ORGANS)


def test_its_gradient_stays_within_its_memory():
    """With channels last, as it is trained; strided convolutions of 1 x 1 did not, or crashed."""
    torch.manual_seed(0)
    for inputs, size in ((4, 48), (8, 24), (16, 12), (32, 6)):
        block = Strided(2, inputs, 2 * inputs, (2, 2))
        image = torch.randn(2, inputs, size, size)
        block(image).square().mean().backward()
        expected = [value.grad.clone() for value in block.parameters()]
        block.zero_grad()
        block.to(memory_format=torch.channels_last)
        block(image.to(memory_format=torch.channels_last)).square().mean().backward()
        for value, like in zip(block.parameters(), expected):
            assert torch.allclose(value.grad, like, atol=1e-4)
