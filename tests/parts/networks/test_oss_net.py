"""OSS-Net: the published sizes, few questions for a whole answer, memory of points alone."""

import pytest
import torch
from torch import nn

from oncoseg import registry
from oncoseg.blocks.implicit import ConditionalNorm, Pade, around, border, drawn, in_stages
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "oss_net:widths=4x8,features=8,side=3"
LARGE = "oss_net:widths=16x32x64x128,side=7,"


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ("features=256,skips=false,patches=none", 3.309),
        ("features=512,skips=false,patches=none", 6.891),
        ("features=512,skips=false,patches=local", 7.245),
        ("features=512,skips=false,patches=both", 7.254),
        ("features=512,patches=local", 8.680),
        ("features=512,patches=both", 8.689),
        ("features=512,patches=local,auxiliary=true", 8.696),
        ("features=512,patches=both,auxiliary=true", 8.705),
    ],
)
def test_parameters_are_the_public_codes(options, millions):
    names = ("flair", "t1", "t1ce", "t2")
    whole = (256, 256, 160)
    task = Task("t", names, {"a": 1}, {"a": ("a",)}, (1.0,) * 3, whole, ((2,) * 3,) * 4)
    with torch.device("meta"):
        network = registry.build("networks", LARGE + options, task)
    assert network.grid == [8, 8, 5]
    count = sum(value.numel() for value in network.parameters())
    count -= (task.outputs - 1) * network.head.in_features  # the public one has one output
    if network.auxiliary is not None:
        own = sum(value.numel() for value in network.auxiliary.parameters())
        count -= own - 128 * 5**3
    assert abs(count / 1e6 - millions) < 0.0006


def test_rational_activations_start_as_leaky_relu():
    place = torch.linspace(-3, 3, 601)
    apart = Pade()(place) - nn.functional.leaky_relu(place, 0.01)
    assert apart.abs().max() < 0.0165  # no fit of these orders is nearer than 0.012
    assert apart.square().mean().sqrt() < 0.012


def test_a_norm_conditions_each_item_by_its_code_and_starts_without():
    torch.manual_seed(0)
    norm, points, code = ConditionalNorm(3, 2), torch.randn(2, 5, 3), torch.randn(2, 2)
    plain = (points - points.mean()) / (points.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(norm(points, code), plain)
    norm.scale.weight.data.normal_()
    expected = plain * (1 + code @ norm.scale.weight.T)[:, None]
    torch.testing.assert_close(norm(points, code), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_patches_lie_round_their_points(dims):
    image = torch.randn(2, 2, *(9, 8, 7)[:dims])
    places = torch.stack([torch.tensor([3, 4, 2][:dims]), torch.zeros(dims).long()])[:, None]
    local = around(image, places, 3)
    assert local.shape == (2, 1, 2, *(3,) * dims)
    box = (0, slice(None), slice(2, 5), slice(3, 6), slice(1, 4))[: dims + 2]
    assert torch.equal(local[0, 0], image[box])
    assert not local[1, 0, :, 0].any()  # beyond the image
    far = around(image, places, 3, pooled=True)[0, 0]
    wide = torch.nn.functional.pad(image[:1], [3, 2] * dims)
    start = [3, 4, 2][:dims]
    cut = wide[(slice(None), slice(None), *(slice(at, at + 6) for at in start))]
    pool = {2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}[dims]
    torch.testing.assert_close(far, pool(cut, 2)[0])


def test_half_of_the_points_lie_at_borders():
    torch.manual_seed(0)
    label = torch.zeros(2, 1, 16, 16)
    label[0, :, 4:8, 4:8] = 1
    near = border(label)
    assert near[0].sum() == 6**2 - 2**2
    assert not near[1].any()
    places = drawn(near, 400, 0.5)
    share = near[0][places[0].unbind(-1)].float().mean()
    assert 0.5 < share < 0.7
    assert places[1].float().mean().round() in (7, 8)  # no border: anywhere


def test_few_questions_answer_as_all_do():
    asked = []

    def ask(places):
        asked.append(len(places))
        distance = (places.float() - torch.tensor([30.0, 33.0, 28.0])).norm(dim=1)
        return torch.stack([distance - 14, 14 - distance])

    shape = (64, 60, 57)
    staged = in_stages(ask, shape, (4, 2, 1), exclusive=True).argmax(0)
    few = sum(asked)
    dense = in_stages(ask, shape, (1,), exclusive=True).argmax(0)
    assert (sum(asked) - few) / few > 3
    overlap = 2 * (staged & dense).sum() / (staged.sum() + dense.sum())
    assert overlap > 0.99


def test_the_network_is_asked_at_the_coarse_grid_where_all_is_one():
    task = classes_task(3, 16)
    network, batch = registry.build("networks", SMALL, task).eval(), make_batch(task)
    network.head.weight.data.zero_()
    counted, at = [], network.at
    network.at = lambda codes, image, places: (
        counted.append(places.shape[1]) or at(codes, image, places)
    )
    network(batch)
    assert counted == [4**3] * 2
    network.stages = (1,)
    network(batch)
    assert counted[2:] == [16**3] * 2


def test_without_surfaces_to_find_stages_change_nothing_that_is_asked():
    torch.manual_seed(0)
    task = classes_task(2, 32)
    network, batch = registry.build("networks", SMALL, task).eval(), make_batch(task)
    staged = network(batch)[0]
    network.stages = (1,)
    whole = network(batch)[0]
    torch.testing.assert_close(staged[..., ::4, ::4], whole[..., ::4, ::4])


def test_memory_of_points_does_not_grow_with_the_image():
    network = registry.build("networks", SMALL, classes_task(3, 16))
    kept = []
    for size in (16, 32):
        batch = make_batch(classes_task(3, size))
        with torch.no_grad():
            codes = network.codes(network.encode(batch))
        sizes = []
        places = torch.randint(size, (2, 50, 3))
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor, lambda each: each
        ):
            network.at(codes, batch.image, places)
        kept.append(sum(sizes))
    assert kept[0] == kept[1]


def test_groups_of_voxels_are_put_back_in_their_places(monkeypatch):
    torch.manual_seed(0)
    task = classes_task(2, 20)
    network, batch = registry.build("networks", f"{SMALL},stages=1", task).eval(), make_batch(task)
    expected = network(batch)[0]
    network.training = True  # all voxels are asked for, but norms are those of evaluation
    torch.testing.assert_close(network(batch)[0], expected)
    monkeypatch.setattr("oncoseg.networks.oss_net.MANY", 150)
    found = network(batch)[0]
    torch.testing.assert_close(found, expected)
    found.square().mean().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_options_that_make_no_sense_are_refused():
    task = classes_task(2)
    for options in ("patches=far", "side=4", "stages=4x2", "stages=4x1"):
        with pytest.raises(BadOption, match=r"OssNet"):
            registry.build("networks", f"oss_net:{options}", task)
