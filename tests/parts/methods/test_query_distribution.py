"""Query distribution: nothing to pay where each group holds the voxels of its own kind."""

import pytest
import torch

from oncoseg import registry
from oncoseg.methods.query_distribution import group_entropy
from worlds import classes_task, make_batch, regions_task

SMALL = "maxquery:widths=8x16,queries=8,features=16,dim=32,heads=2,hidden=64,layers=2"


def built(task, spelled="query_distribution"):
    torch.manual_seed(0)
    network = registry.build("networks", SMALL, task)
    loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
    return registry.build("methods", spelled, network, task, loss).train()


def test_mass_in_the_right_group_costs_nothing_and_mass_elsewhere_its_logarithm():
    kinds = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 2)
    weight = torch.ones(1, 1, 2)
    assert float(group_entropy(kinds, kinds, weight)) == 0
    half = group_entropy(torch.full((1, 2, 2), 0.5), kinds, weight)
    assert float(half) == pytest.approx(0.6931472)
    wrong = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 2, 2)
    first_alone = torch.tensor([1.0, 0.0]).view(1, 1, 2)
    assert float(group_entropy(wrong, kinds, first_alone)) == 0
    assert float(group_entropy(wrong, kinds, weight)) > 6


@pytest.mark.parametrize("task", [classes_task(2), regions_task(2)])
def test_its_segmentation_loss_is_that_of_supervised_learning(task):
    method, batch = built(task), make_batch(task)
    supervised = registry.build("methods", "supervised", method.network, task, method.loss)
    found = method.losses(batch, 0)
    torch.testing.assert_close(
        found["segmentation"], supervised.losses(batch, 0)["segmentation"], atol=1e-5, rtol=1e-5
    )
    free = built(task, "query_distribution:share=0")
    assert float(free.losses(batch, 0)["distribution"].detach()) == 0


def test_the_gradient_moves_mass_to_the_group_of_the_label():
    task = classes_task(2)
    method, batch = built(task), make_batch(task)
    network = method.network

    def held():
        responses, _ = network.respond(network.encode(batch))
        return float((network.mass(responses) * batch.label).sum(1).mean().detach())

    before = held()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(10):
        optimiser.zero_grad()
        method.losses(batch, step)["distribution"].backward()
        optimiser.step()
    assert held() > before + 0.1


def test_overlapping_regions_are_one_foreground():
    task = regions_task(2)
    method, batch = built(task), make_batch(task)
    groups = method._groups(batch.label)
    torch.testing.assert_close(groups[:, 1], batch.label[:, 0])
    torch.testing.assert_close(groups.sum(1), torch.ones(2, 32, 32))


def test_items_that_are_not_fully_annotated_or_labelled_have_no_part():
    task = classes_task(2)
    method, batch = built(task), make_batch(task)
    whole = method.losses(batch[:1], 0)["distribution"]
    for part in (
        {"annotated": torch.tensor([[True] * 3, [True, False, True]])},
        {"labeled": torch.tensor([True, False])},
    ):
        torch.testing.assert_close(method.losses(batch.but(**part), 0)["distribution"], whole)
