"""Reversible MBConv U-Net: inverses, gradients, and memory that depth does not take."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.mbconv import MbConv
from oncoseg.blocks.reversible import Reversible
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "rev_mbconv_unet3d:widths=4x8x8x8"


def chain(blocks, dims=3, dtype=torch.float64):
    torch.manual_seed(0)
    options = {"expand": 2, "norm": "group", "shortcut": False}
    pairs = [[MbConv(dims, 4, 4, **options) for _ in range(2)] for _ in range(blocks)]
    return Reversible(map(tuple, pairs)).to(dtype)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_input_comes_back_from_the_output(dims, dtype, near):
    stage = chain(4, dims, dtype).requires_grad_(requires_grad=False)
    features = torch.randn(2, 8, *(6,) * dims, dtype=dtype)
    found = stage(features)
    assert not torch.allclose(found, features)
    torch.testing.assert_close(stage.inverse(found), features, atol=near, rtol=0)


def test_gradients_are_those_of_plain_autograd():
    stage = chain(3)
    features = torch.randn(2, 8, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    given = [features, *stage.parameters()]
    weight = torch.randn_like(features)
    ours = torch.autograd.grad((stage(features) * weight).sum(), given)
    plain = torch.autograd.grad((stage.plain(features) * weight).sum(), given)
    torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10)


def test_what_is_frozen_stays_so_and_half_precision_is_that_of_the_forward_pass():
    stage, seen = chain(2, dtype=torch.float32), []
    stage.ones[0].requires_grad_(requires_grad=False)
    convolution = stage.others[1].wide[0]
    convolution.register_forward_hook(lambda _, given, found: seen.append(found.dtype))
    features = torch.randn(1, 8, 4, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = stage(features)
    found.square().sum().backward()
    assert found.dtype == torch.float32
    assert seen == [torch.bfloat16] * 2
    without = {name for name, value in stage.named_parameters() if value.grad is None}
    assert without == {f"ones.0.{name}" for name, _ in stage.ones[0].named_parameters()}


def kept(network, batch, *, plain=False):
    """Bytes that a training step keeps for its gradient, parameters aside."""
    own = {value.untyped_storage().data_ptr() for value in network.parameters()}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    for stage in network.modules():
        if plain and isinstance(stage, Reversible):
            stage.forward = stage.plain
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(batch)  # held, so that no storage is used twice
    assert logits[0].requires_grad
    return sum(found.values())


def test_memory_is_constant_in_the_number_of_blocks():
    task = classes_task(3, 16)
    batch = make_batch(task)
    few, many, plain = (
        registry.build("networks", f"{SMALL},blocks={count}", task).train() for count in (1, 6, 6)
    )
    assert kept(few, batch) == kept(many, batch)
    assert kept(plain, batch, plain=True) > 5 * kept(many, batch)


def test_it_learns_one_scan_by_heart():
    torch.manual_seed(0)
    task = classes_task(2, 16)
    network, batch = registry.build("networks", SMALL, task).train(), make_batch(task)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    found = network(batch)[0].argmax(1) == 2
    truth = batch.label[:, 2] > 0
    assert 2 * (found & truth).sum() > 0.95 * (found.sum() + truth.sum())


def test_odd_sizes_come_back_whole_and_odd_widths_are_refused():
    task = classes_task(2, 37)
    assert registry.build("networks", SMALL, task)(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="even widths"):
        registry.build("networks", "rev_mbconv_unet3d:widths=5x8", task)
