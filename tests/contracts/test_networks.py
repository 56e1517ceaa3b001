"""What every registered network must do, in two and three dimensions.

For classes and for regions.
"""

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Prompts
from oncoseg.export import to_onnx
from worlds import NETWORKS, TASKS, make_batch

OTHERS = [
    "unet:width=8,residual=true",
    "umamba:width=8,states=4,where=enc",
    "xlstm_unet:width=8,where=enc,heads=2",
    "nnunet:width=8,residual=true,members=2",
]
every = pytest.mark.parametrize(
    "spelled", [*(NETWORKS.get(name, name) for name in registry.names("networks")), *OTHERS]
)
tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def built(spelled, task, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task)


def prompted(batch):
    """The same batch with clicks of both kinds, a box and a mask."""
    size, dims = len(batch), batch.image.ndim - 2
    points = torch.rand(size, 3, dims, generator=torch.Generator().manual_seed(0)) * 8
    foreground = torch.tensor([1.0, 0.0, -1.0]).expand(size, 3)
    boxes = torch.stack([points[:, :1], points[:, :1] + 6], dim=2)
    mask = batch.label[:, -1:]
    return batch.but(prompts=Prompts(points, foreground, boxes, mask))


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
    """Modules named as what the network gives are beside its logits: their methods reach them."""
    network, batch = built(spelled, task).train(), prompted(make_batch(task))
    sum(level.square().mean() for level in network(batch)).backward()
    parameters = network.named_parameters()
    idle = [name for name, value in parameters if value.grad is None]
    assert not [name for name in idle if name.split(".")[0] not in network.gives]


@every
@tasks
def test_encode_never_reads_prompts(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    asked = prompted(batch)
    for plain, again in zip(network.encode(batch), network.encode(asked)):
        assert torch.equal(plain, again)


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


@every
@tasks
def test_widths_are_the_channels_of_the_pyramid(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    assert [level.shape[1] for level in network.encode(batch)] == list(network.widths)


@every
@tasks
def test_the_answer_is_the_logits_and_then_the_maps(spelled, task):
    network, batch = built(spelled, task).eval(), make_batch(task)
    answer = network.answer(batch)
    assert answer.shape == (2, task.outputs + len(network.maps), *task.patch)
    assert torch.equal(answer[:, : task.outputs], network(batch)[0])


@every
def test_it_is_exported_or_says_why_not(spelled):
    task = TASKS["2-D regions"]
    network = built(spelled, task).half().float().eval()  # model files hold float16 weights
    if network.alone:
        assert len(network.alone) > 10
    else:
        assert to_onnx(network, task)
