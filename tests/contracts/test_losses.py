"""What every registered loss must do."""

import pytest
import torch

from oncoseg import registry
from worlds import classes_task, make_batch, regions_task

every = pytest.mark.parametrize("name", registry.names("losses"))
tasks = pytest.mark.parametrize("task", [regions_task(3, 16), classes_task(2, 16)])


@every
@tasks
def test_a_perfect_prediction_costs_next_to_nothing_and_a_wrong_one_more(name, task):
    loss, batch = registry.build("losses", name, exclusive=task.exclusive), make_batch(task)
    perfect = loss.ideal(batch.label)
    best = loss(perfect, batch.label, batch.weight)
    worst = loss(-perfect, batch.label, batch.weight)
    assert float(best) < 1e-3
    assert float(worst) > 1


@every
@tasks
def test_voxels_without_weight_change_nothing(name, task):
    loss, batch = registry.build("losses", name, exclusive=task.exclusive), make_batch(task)
    weight = batch.weight.clone()
    weight[:, :, :8] = 0
    logits = torch.randn_like(batch.label)
    changed = logits.clone()
    changed[:, :, :8] += 5
    assert torch.allclose(loss(logits, batch.label, weight), loss(changed, batch.label, weight))


@every
@tasks
def test_no_weight_at_all_is_zero_with_a_gradient(name, task):
    loss, batch = registry.build("losses", name, exclusive=task.exclusive), make_batch(task)
    logits = torch.randn_like(batch.label).requires_grad_()
    value = loss(logits, batch.label, batch.weight * 0)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()
