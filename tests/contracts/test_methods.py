"""What every registered method must do, on a network that gives what it needs."""

import pytest
import torch

from oncoseg import registry
from oncoseg.train.loop import Step
from worlds import TASKS, build_method, make_batch, shown

every = pytest.mark.parametrize("name", registry.names("methods"))
tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def learn(method, batch, steps=12):
    """Some steps as the loop makes them, with the same draws in each."""
    optimiser = torch.optim.Adam(
        [value for part in method.trained for value in part.parameters()], lr=3e-3
    )
    totals = []
    for step in range(steps):
        torch.manual_seed(0)
        losses = method.update(batch, step, Step(optimiser))
        method.after_step(step)
        assert losses
        assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
        totals.append(sum(float(value.detach()) for value in losses.values()))
    return totals


@every
@tasks
def test_losses_are_named_finite_scalars_that_steps_lower(name, task):
    method = build_method(name, task)
    totals = learn(method.train(), shown(make_batch(task, size=4), name))
    if len(method.trained) == 1:  # where networks play against one another, nothing need fall
        assert totals[-1] < totals[0]


@every
@tasks
def test_every_trained_parameter_moves(name, task):
    method = build_method(name, task)
    before = [value.detach().clone() for part in method.trained for value in part.parameters()]
    learn(method.train(), shown(make_batch(task, size=4), name), steps=3)
    after = [value for part in method.trained for value in part.parameters()]
    still = sum(torch.equal(old, new) for old, new in zip(before, after))
    assert still <= 0.1 * len(before), f"{still} of {len(before)} tensors stayed as they were"


@every
@tasks
def test_the_result_is_a_network_for_the_task_that_is_trained(name, task):
    method, batch = build_method(name, task), make_batch(task)
    kind = registry.load("methods", name)
    trained = kind.pretext(task, **registry.chosen("methods", name))
    with torch.no_grad():
        logits = method.result.eval()(batch)[0]
    assert logits.shape == (2, trained.outputs, *task.patch)


@every
@tasks
def test_the_batch_is_left_as_it_was(name, task):
    batch = shown(make_batch(task, size=4), name)
    names = ("image", "present", "label", "weight", "labeled")
    before = {key: getattr(batch, key).clone() for key in names}
    learn(build_method(name, task).train(), batch, steps=1)
    for key, value in before.items():
        assert torch.equal(getattr(batch, key), value), key


@every
def test_labels_that_are_not_needed_change_nothing(name):
    if "labeled" in registry.entry("methods", name).needs:
        pytest.skip("needs labels")
    task = TASKS["2-D regions"]
    totals = []
    for seed in (1, 2):
        batch = shown(make_batch(task, size=4), name)
        label = torch.rand(batch.label.shape, generator=torch.Generator().manual_seed(seed))
        totals.append(learn(build_method(name, task).train(), batch.but(label=label), steps=2))
    assert totals[0] == totals[1]
