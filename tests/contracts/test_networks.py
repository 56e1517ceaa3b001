"""What every registered network must do, in two and three dimensions.

For classes and for regions.
"""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from worlds import classes_task, make_batch, regions_task

TASKS = {"2-D regions": regions_task(2), "3-D classes": classes_task(3)}
SMALL = {"unet": "unet:width=8", "residual": "unet:width=8,residual=true"}
NETWORKS = [*(SMALL.get(name, name) for name in registry.names("networks")), SMALL["residual"]]
every = pytest.mark.parametrize("spelled", NETWORKS)
tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def built(spelled, task, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task)


@every
@tasks
def test_logits_have_the_shape_of_the_image_finest_first(spelled, task):
    network, batch = built(spelled, task), make_batch(task)
    logits = network.train()(batch)
    assert logits[0].shape == (2, task.outputs, *task.patch)
    sizes = [level.shape[2] for level in logits]
    assert sizes == sorted(sizes, reverse=True)
    assert len(network.eval()(batch)) == 1


@every
@tasks
def test_the_gradient_reaches_every_parameter(spelled, task):
    network, batch = built(spelled, task).train(), make_batch(task)
    sum(level.square().mean() for level in network(batch)).backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None]
    assert not idle


@every
@tasks
def test_encode_never_reads_prompts(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    points = torch.rand(2, 3, task.dims) * 8
    asked = batch.but(prompts=replace(batch.prompts, points=points, foreground=torch.ones(2, 3)))
    for plain, prompted in zip(network.encode(batch), network.encode(asked)):
        assert torch.equal(plain, prompted)


@every
@tasks
def test_the_same_seed_builds_the_same_network_and_weights_load_back(spelled, task):
    first, second, other = built(spelled, task), built(spelled, task), built(spelled, task, seed=1)
    batch = make_batch(task)
    expected = first.eval()(batch)[0]
    assert torch.equal(expected, second.eval()(batch)[0])
    assert not torch.equal(expected, other.eval()(batch)[0])
    other.load_state_dict(first.state_dict())
    assert torch.equal(expected, other.eval()(batch)[0])


@every
@tasks
def test_what_is_not_present_is_not_read(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    present = batch.present.clone()
    present[:, 0] = False
    hidden = batch.but(present=present)
    garbage = batch.image.clone()
    garbage[:, 0] = 1e3
    assert torch.equal(network(hidden)[0], network(hidden.but(image=garbage))[0])


@every
@tasks
def test_samples_are_stacked_logits(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    assert network.samples(batch, 3).shape == (3, 2, task.outputs, *task.patch)
