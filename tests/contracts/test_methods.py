"""What every registered method must do.

With every registered network that is small enough to try.
"""

import pytest
import torch

from oncoseg import registry
from worlds import classes_task, make_batch, regions_task

every = pytest.mark.parametrize("name", registry.names("methods"))
tasks = pytest.mark.parametrize("task", [regions_task(2, 32), classes_task(3, 16)])


def built(name, task):
    torch.manual_seed(0)
    network = registry.build("networks", "unet:width=8", task)
    return registry.build(
        "methods",
        name,
        network,
        task,
        registry.build("losses", "dice_ce", exclusive=task.exclusive),
    )


@every
@tasks
def test_losses_are_named_finite_scalars_that_steps_lower(name, task):
    method, batch = built(name, task), make_batch(task)
    optimiser = torch.optim.Adam(
        [value for part in method.trained for value in part.parameters()], lr=3e-3
    )
    totals = []
    for step in range(12):
        losses = method.losses(batch, step)
        assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
        total = sum(losses.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        method.after_step(step)
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]


@every
@tasks
def test_the_result_is_a_network_that_predicts(name, task):
    method, batch = built(name, task), make_batch(task)
    with torch.no_grad():
        assert method.result.eval()(batch)[0].shape == (2, task.outputs, *task.patch)
