"""Multi-level activation: regions are nested whatever the weights; thresholds lie in order."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadRun
from oncoseg.export import TOLERANCE, to_onnx
from oncoseg.networks.multilevel_activation import levels, rings
from worlds import classes_task, make_batch, regions_task

SPELLED = "multilevel_activation:network=(unet:width=4,blocks=1)"
TASK = regions_task(2, 16)


def test_regions_lie_in_one_another_for_any_weights():
    torch.manual_seed(3)
    network = registry.build("networks", SPELLED, TASK).eval()
    logits = network(make_batch(TASK))[0]
    assert (logits[:, 0] > logits[:, 1]).all()
    assert (logits[:, 1] > logits[:, 2]).all()
    assert logits.shape[1] == TASK.outputs


def test_depth_follows_the_sets_not_the_order():
    assert levels(TASK) == [1, 2, 3]
    turned = replace(TASK, regions=dict(reversed(TASK.regions.items())))
    assert levels(turned) == [3, 2, 1]
    apart = replace(TASK, regions={"a": ("NCR", "ED"), "b": ("ET", "ED")})
    with pytest.raises(BadRun, match="does not lie within"):
        levels(apart)


def test_rings_are_probabilities_that_sum_to_one():
    z = torch.linspace(-1, 3, 41).view(1, 1, 41)
    passed = 10 * (z - torch.tensor([0.25, 0.75, 1.25]).view(1, 3, 1))
    shares = rings(passed).exp()
    assert torch.allclose(shares.sum(1), torch.ones(1, 41), atol=1e-5)
    best = shares[0].argmax(0)
    assert best[z[0, 0] < 0.2].eq(0).all()
    assert best[(z[0, 0] > 0.3) & (z[0, 0] < 0.7)].eq(1).all()
    assert best[z[0, 0] > 1.3].eq(3).all()


def test_the_gradient_is_largest_at_a_threshold():
    z = torch.tensor([0.25, 0.5], requires_grad=True)  # at the first threshold, on the plateau
    (10 * (z - 0.25)).sigmoid().sum().backward()
    assert z.grad[0] > 2 * z.grad[1]


def test_exclusive_classes_are_rings():
    task = classes_task(2, 16, classes=2)
    network = registry.build("networks", SPELLED, task).eval()
    logits = network(make_batch(task))[0]
    assert torch.allclose(logits.exp().sum(1), torch.ones_like(logits[:, 0]), atol=1e-4)


def test_a_graph_has_numbers_far_from_the_thresholds():
    task = classes_task(2, 16, classes=2)
    torch.manual_seed(0)
    spelled = "multilevel_activation:network=(unet:width=4,blocks=1),sharpness=1e4"
    _, worst = to_onnx(registry.build("networks", spelled, task).eval(), task)
    assert worst <= TOLERANCE
