"""The selective scan: in parallel as one step after another, and its gradients."""

import pytest
import torch
import torch.nn.functional as F

from oncoseg.blocks import lanes
from oncoseg.blocks.lanes import scanned
from oncoseg.blocks.scan import Mamba, selective_scan, sequential


def drawn(length, *, steps=1.0, kind=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=kind)

    values = [
        normal(2, 3, length),
        F.softplus(normal(2, 3, length)) * steps,
        -torch.exp(normal(3, 4)),
        normal(2, 4, length),
        normal(2, 4, length),
        normal(3),
    ]
    return [value.requires_grad_() for value in values]


# Steps of 300 let states decay to 0 at once; of 1e-4, to remember the whole sequence.
@pytest.mark.parametrize(
    ("length", "steps", "chunk"),
    [
        (1000, 1.0, 128),
        (1000, 300.0, 128),
        (1000, 1e-4, 512),
        (37, 1.0, 7),
        (37, 1.0, 64),
        (1, 1.0, 4),
    ],
)
def test_it_is_the_sequential_scan_with_its_gradients(length, steps, chunk):
    values = drawn(length, steps=steps)
    weight = torch.linspace(-1, 1, length, dtype=torch.float64)
    expected = sequential(*values)
    found = selective_scan(*values, chunk=chunk)
    assert torch.allclose(found, expected, rtol=0, atol=1e-8)
    wanted = torch.autograd.grad((expected * weight).sum(), values)
    got = torch.autograd.grad((found * weight).sum(), values)
    for one, other in zip(got, wanted):
        assert torch.isfinite(one).all()
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-8)


def test_without_gradients_it_is_the_same():
    values = drawn(300)
    with torch.no_grad():
        assert torch.allclose(selective_scan(*values, chunk=64), sequential(*values), atol=1e-8)


@pytest.mark.parametrize("length", [5, 70])  # one lane, and three whose last is not full
def test_numerical_gradients_agree(length, monkeypatch):
    monkeypatch.setattr(lanes, "NUMBERS", 40)
    monkeypatch.setattr(lanes, "LEAST", 20)
    values = drawn(length)
    state = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    u, delta, rate, into, out, _ = (
        one[:1, :2].detach() if one.ndim == 3 else one[:2].detach() for one in values
    )
    given = [u, delta, into, out, rate[:, :2], state[:1, :2, :2].detach()]
    assert torch.autograd.gradcheck(scanned, [one.clone().requires_grad_() for one in given])


@pytest.mark.parametrize("numbers", [1, 100, 1 << 16])
@pytest.mark.parametrize("length", [1, 31, 32, 64, 100, 129])
def test_lanes_change_nothing(numbers, length, monkeypatch):
    monkeypatch.setattr(lanes, "NUMBERS", numbers)
    values = drawn(length)
    found, expected = selective_scan(*values), sequential(*values)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    both = (torch.autograd.grad((one**2).sum(), values) for one in (found, expected))
    assert all(torch.allclose(one, other, atol=1e-8) for one, other in zip(*both))


def test_a_scan_that_never_forgets_is_a_running_sum():
    flow, ones = torch.randn(2, 3, 100, dtype=torch.float64), torch.ones(2, 1, 100)
    given = flow, torch.ones_like(flow), ones.double(), ones.double()
    y, last = scanned(*given, torch.zeros(3, 1).double(), torch.zeros(2, 3, 1).double())
    assert torch.allclose(y, flow.cumsum(2), atol=1e-12)
    assert torch.allclose(last[..., 0], flow.sum(2), atol=1e-12)


def test_what_is_kept_for_the_gradient_does_not_hold_the_states():
    kept = []

    def pack(value):
        kept.append(value.numel())
        return value

    values = drawn(4096, kind=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        selective_scan(*values, chunk=256)
    assert max(kept) < 2 * 3 * 4096 * 4  # (B, D, L, N) would be this


def test_a_token_is_told_of_those_before_it_alone():
    torch.manual_seed(0)
    block, tokens = Mamba(8, chunk=16), torch.randn(1, 50, 8)
    changed = tokens.clone()
    changed[:, 30] += 1
    moved = (block(changed) - block(tokens)).abs().sum(-1)[0] > 0
    assert not moved[:30].any()
    assert moved[30:].all()


def test_its_parameters_and_their_start_are_the_published_ones():
    torch.manual_seed(0)
    block = Mamba(64)
    inner, rank, states = 128, 4, 16
    linear = 64 * 2 * inner + inner * (rank + 2 * states) + inner * 64
    step, convolution = rank * inner + inner, 4 * inner + inner
    expected = linear + step + convolution + inner * states + inner
    assert sum(value.numel() for value in block.parameters()) == expected
    assert torch.allclose(block.log_rate.exp(), torch.arange(1.0, 17).expand(inner, 16))
    first = F.softplus(block.step.bias)
    assert first.min() >= 0.001 - 1e-6
    assert first.max() <= 0.1 + 1e-6


def test_half_precision_around_it_does_not_reach_it():
    torch.manual_seed(0)
    block, tokens = Mamba(8), torch.randn(1, 20, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(block(tokens), block(tokens.clone()))
        assert block(tokens).dtype == torch.float32
        inside = block(tokens)
    assert torch.equal(inside, block(tokens))
