"""Weights from another plan: one rule for each way in which shapes differ, and a whole report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from oncoseg import registry
from oncoseg.errors import BadFile, BadRun
from oncoseg.model import open_model
from oncoseg.predict.engines import bare_batch
from oncoseg.train import train
from oncoseg.transfer import _taps, _voxels, encoder_of, transfer
from runs import toy_data, toy_run
from worlds import NETWORKS, TASKS, classes_task, make_batch

SOLID, FLAT = classes_task(3, 16), classes_task(2, 16)


def built(spelled, task, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task).eval()


def moved(spelled, old, other, task, seed=1):
    """The network that is started, its values before, and what was taken from the old one."""
    first = built(spelled, old)
    second = built(other, task, seed)
    before = {name: value.clone() for name, value in second.state_dict().items()}
    return (
        first,
        second,
        before,
        transfer(Path("m"), first.state_dict(), spelled, old, second, task),
    )


def seen(network, image):
    """Features of every level where all is present."""
    with torch.no_grad():
        return network.encode(bare_batch(image, torch.ones_like(image)))


@pytest.mark.parametrize(
    ("had", "size", "taps"),
    [
        ([1.0, 2, 4], 3, [1.0, 2, 4]),
        ([2.0], 3, [0.0, 2, 0]),
        ([1.0, 2, 4], 5, [0.0, 1, 2, 4, 0]),
        ([1.0, 2, 4], 1, [7.0]),
        ([1.0, 2, 4, 8, 16], 3, [3.0, 4, 24]),
        ([1.0, 2], 3, None),
        ([1.0, 2, 4], 2, None),
    ],
)
def test_a_kernel_gets_zeros_around_it_or_adds_up_what_falls_outside(had, size, taps):
    found = _taps(torch.tensor(had).reshape(1, 1, -1), 2, size)
    assert (None if found is None else found.flatten().tolist()) == taps


@pytest.mark.parametrize(
    ("had", "size", "voxels"),
    [
        ([3.0], 2, [3.0, 3]),
        ([1.0, 3], 1, [2.0]),
        ([1.0, 2], 4, [1.0, 1, 2, 2]),
        ([1.0, 2], 3, None),
    ],
)
def test_a_transposed_kernel_repeats_or_averages_voxels(had, size, voxels):
    found = _voxels(torch.tensor(had).reshape(1, 1, -1), 2, size)
    assert (None if found is None else found.flatten().tolist()) == voxels


def test_flat_kernels_in_larger_ones_see_the_same():
    """3 x 3 x 1 in 3 x 3 x 3: every level of the encoder, exactly."""
    task = replace(SOLID, strides=((2, 2, 1),) * 3)
    flat, solid = (f"nnunet:width=4,kernels={'x'.join([k] * 4)}" for k in ("331", "333"))
    first, second, _, report = moved(flat, task, solid, task)
    image = torch.randn(1, 1, 16, 16, 16)
    for one, other in zip(seen(first, image), seen(second, image)):
        assert torch.allclose(one, other, atol=1e-5)
    assert report.encoder == 1
    assert not report.initialised
    assert set(report.adapted.values()) == {"kernel 3x3x1 -> 3x3x3"}


def test_larger_kernels_in_flat_ones_see_the_same_in_what_is_constant_across():
    wide = _taps(torch.randn(2, 1, 3, 3, 3), 4, 1)
    for value in (1.0, -2.0):
        layer = nn.Conv3d(1, 2, (3, 3, 1), padding=(1, 1, 0), bias=False)
        layer.weight.data = wide
        image = torch.full((1, 1, 8, 8, 8), value)
        assert torch.allclose(
            layer(image)[..., 1:-1, 1:-1, 3],
            value * wide.sum((1, 2, 3, 4)).view(1, 2, 1, 1),
            atol=1e-5,
        )


def test_a_network_of_2_d_sees_in_slices_what_it_saw():
    """A solid of equal slices, the new axis the one of the longest voxels."""
    task = replace(SOLID, spacing=(1.0, 5.0, 1.0), strides=((2, 1, 2),) * 3)
    for spelled in ("stunet:width=2", "unet:width=4"):
        first, second, _, report = moved(spelled, FLAT, spelled, task)
        image = torch.randn(1, 1, 16, 16)
        solid = image.unsqueeze(3).expand(1, 1, 16, 6, 16)
        for one, other in zip(seen(first, image), seen(second, solid)):
            assert torch.allclose(other, one.unsqueeze(3).expand_as(other), atol=1e-4)
        assert report.encoder == 1
        assert not report.initialised
        # Up to the logits: what is up-sampled is repeated.
        flat, deep = (bare_batch(each, torch.ones_like(each)) for each in (image, solid))
        with torch.no_grad():
            one, other = first(flat)[0], second(deep)[0]
        assert torch.allclose(other, one.unsqueeze(3).expand_as(other), atol=1e-4)


def test_a_network_of_3_d_sees_in_2_d_what_it_saw_in_equal_slices():
    """Far from the ends, where the zeros around the image do not reach: one convolution."""
    first, second, _, report = moved("stunet:width=2", SOLID, "stunet:width=2", FLAT)
    image = torch.randn(1, 1, 16, 16)
    solid = image.unsqueeze(4).expand(1, 1, 16, 16, 5)
    with torch.no_grad():
        one = first.encoder[0][0].first[0](solid)[..., 2]
        other = second.encoder[0][0].first[0](image)
    assert torch.allclose(one, other, atol=1e-5)
    assert report.encoder == 1
    assert "kernel 3x3x3 -> 3x3" in report.adapted["encoder.0.0.first.0.weight"]


def test_a_wider_encoder_sees_what_the_narrower_one_did_and_more():
    first, second, before, report = moved("stunet:width=4", SOLID, "stunet:width=6", SOLID)
    image = torch.randn(1, 1, 16, 16, 16)
    for one, other in zip(seen(first, image), seen(second, image)):
        assert torch.allclose(one, other[:, : one.shape[1]], atol=1e-4)
    name = "encoder.1.0.first.0.weight"
    assert torch.equal(second.state_dict()[name][8:], before[name][8:])  # as it was initialised
    assert report.adapted[name] == "width 8x4 -> 12x6"
    assert {part.split(".")[0] for part in report.initialised} == {"up", "decoder", "heads"}
    assert report.encoder == pytest.approx(2 / 3, abs=1e-3)


def test_of_a_wider_encoder_the_first_channels_are_taken():
    first, second, _, report = moved("stunet:width=6", SOLID, "stunet:width=4", SOLID)
    name = "encoder.2.0.second.0.weight"
    assert torch.equal(second.state_dict()[name], first.state_dict()[name][:16, :16])
    assert report.cut[name] == "width 24x24 -> 16x16"
    assert report.encoder == 1


def test_stages_that_are_missing_are_initialised_and_those_too_many_left_out():
    short, long = (replace(SOLID, strides=((2, 2, 2),) * levels) for levels in (3, 4))
    first, second, before, report = moved(
        "unet:width=4,limit=8", short, "unet:width=4,limit=8", long
    )
    assert {name[:9] for name in report.initialised} == {
        "encoder.4",
        "decoder.3",
        "up.3.weig",
        "up.3.bias",
        "heads.2.w",
        "heads.2.b",
    }
    image = torch.randn(1, 1, 32, 32, 32)
    for one, other in zip(seen(first, image), seen(second, image)):
        assert torch.equal(one, other)
    assert all(torch.equal(second.state_dict()[name], before[name]) for name in report.initialised)
    _, _, _, back = moved("unet:width=4,limit=8", long, "unet:width=4,limit=8", short)
    assert set(back.left_out) == set(report.initialised)
    assert not back.initialised


def test_regions_are_matched_by_name():
    labels = {"tumour": 1, "cyst": 2, "class_1": 3}
    task = replace(SOLID, labels=labels, regions={name: (name,) for name in labels})
    first, second, before, report = moved("unet:width=4", SOLID, "unet:width=4", task)
    for name in ("heads.0.weight", "heads.0.bias"):
        was, now = first.state_dict()[name], second.state_dict()[name]
        assert torch.equal(now[[0, 3]], was[[0, 1]])  # background and class_1
        assert torch.equal(now[[1, 2]], before[name][[1, 2]])
        assert report.cut[name] == "regions (new: tumour, cyst; left out: class_2)"
    assert not report.initialised


def test_no_region_in_common_or_overlapping_ones_is_a_new_head():
    other = replace(SOLID, labels={"a": 1, "b": 2}, regions={"a": ("a",), "b": ("b",)})
    names = {"class_1": ("class_1", "class_2"), "class_2": ("class_2",)}
    for task in (other, replace(SOLID, regions=names)):
        _, second, before, report = moved("unet:width=4", SOLID, "unet:width=4", task)
        assert {name.split(".")[0] for name in report.initialised} == {"heads"}
        for name in report.initialised:
            assert torch.equal(second.state_dict()[name], before[name])


def test_what_reads_modalities_or_regions_and_else_is_new_for_others():
    """The posterior of probabilistic_unet reads image and label at once."""
    name, spelled = "posterior.stages.0.0.weight", NETWORKS["probabilistic_unet"]
    old = replace(FLAT, modalities=("a", "b"))
    turned = dict(reversed(old.regions.items()))
    others = [replace(old, modalities=("b", "a")), replace(old, regions=turned)]
    for task, new in zip([old, *others], [[], [name], [name]]):
        _, _, _, report = moved(spelled, old, spelled, task)
        assert report.initialised == new


def test_less_than_half_of_the_encoder_is_refused_and_weights_that_are_no_numbers():
    with pytest.raises(BadRun, match="m has 33% of the weights of the encoder to be trained"):
        moved("unet:width=4", SOLID, "unet:width=12", SOLID)
    with pytest.raises(BadRun, match="m has 0% of the weights of the encoder"):
        moved("unet:width=4", SOLID, "stunet:width=4", SOLID)
    network = built("unet:width=4", SOLID)
    broken = {name: value * torch.nan for name, value in network.state_dict().items()}
    with pytest.raises(BadRun, match="not all numbers"):
        transfer(Path("m"), broken, "unet:width=4", SOLID, network, SOLID)
    with pytest.raises(BadFile, match="m: its weights are not those of its network; fetch"):
        transfer(Path("m"), network.state_dict(), "unet:width=5", SOLID, network, SOLID)


def test_the_report_accounts_for_every_number():
    task = replace(classes_task(3, 16, classes=3), modalities=("image", "pet"))
    _, second, before, report = moved("stunet:width=4", SOLID, "stunet:width=6", task)
    kinds = (report.loaded, report.adapted, report.cut, report.initialised)
    assert sorted(name for kind in kinds for name in kind) == sorted(before)
    assert report.parameters == sum(value.numel() for value in before.values())
    kept = sum(int((second.state_dict()[name] == before[name]).sum()) for name in before)
    # Numbers that are as they were: those initialised, and the 1s and 0s that both have.
    assert report.parameters - report.taken <= kept
    assert str(report).startswith("starting from m: tensors ")
    assert report.as_dict()["encoder"] == report.encoder


@pytest.mark.parametrize("name", registry.names("networks"))
def test_the_encoder_is_what_encode_calls(name):
    task = TASKS["2-D regions"]
    network = built(NETWORKS.get(name, name), task).train()
    found = encoder_of(network, task)
    features = network.encode(make_batch(task))
    learned = [level.float().square().mean() for level in features if level.requires_grad]
    if learned:  # else it hands on the image
        sum(learned).backward()
    used = {name for name, value in network.named_parameters() if value.grad is not None}
    assert used <= found
    if found != set(network.state_dict()):
        assert {each for each in found if each in dict(network.named_parameters())} == used


def test_a_training_starts_from_a_model_of_another_plan(tmp_path, caplog):
    """Of other patch, strides, modalities, regions and number of axes; at a rate of 0."""
    runs = []
    for name, options in (
        ("flat", {"dims": 2, "size": 48, "modalities": ("a", "b"), "classes": 2}),
        ("solid", {"dims": 3, "size": 24, "modalities": ("b",), "classes": 3}),
    ):
        task, _ = toy_data(tmp_path / name, 1, 3, **options)
        runs.append(
            toy_run(
                tmp_path,
                task,
                data=str(tmp_path / name),
                to=str(tmp_path / f"{name}.onco"),
                network="stunet:width=4",
                augmentations=(),
                start=runs[-1].to if runs else "",
                steps=2,
                rate=0.0,
            )
        )
    first, second = (open_model(train(run)) for run in runs)
    assert first.task.patch != second.task.patch
    assert first.task.strides != second.task.strides
    start = json.loads((runs[1].folder / "start.json").read_text(encoding="utf-8"))
    assert start["model"] == runs[0].to
    assert start["encoder"] == 1
    assert start["initialised"] == start["left_out"] == []
    assert start["cut"]["encoder.0.0.first.0.weight"] == (
        "modalities (left out: a), kernel 3x3 -> 3x3x3"
    )
    assert start["adapted"]["heads.0.weight"] == "regions (new: c3), kernel 1x1 -> 1x1x1"
    assert f"starting from {runs[0].to}: tensors " in caplog.text
    flat, solid = first.network(), second.network()
    image = torch.randn(1, 1, 48, 48)
    both = torch.cat([torch.zeros_like(image), image], dim=1)  # the modality that is known to both
    one = flat.encoder[0](both)
    other = solid.encoder[0](image.unsqueeze(4).expand(1, 1, 48, 48, 5))
    assert torch.allclose(other, one.unsqueeze(4).expand_as(other), atol=1e-3)
