"""Sequences chunk by chunk: the same as at once, in values, gradients and what is kept."""

import pytest
import torch

from oncoseg.blocks.chunks import chunked


def summed(values, scale, state):
    """A running sum, scaled, and its last value."""
    sums = values.cumsum(2) * scale + state[:, :, None]
    return sums, sums[:, :, -1]


def drawn(length=23):
    torch.manual_seed(0)
    kinds = {"dtype": torch.float64, "requires_grad": True}
    return torch.randn(2, 3, length, **kinds), torch.randn((), **kinds), torch.randn(2, 3, **kinds)


@pytest.mark.parametrize("chunk", [1, 5, 22, 23, 100])
def test_it_is_the_same_as_at_once_with_its_gradients(chunk):
    values, scale, state = drawn()
    expected = summed(values, scale, state)
    found = chunked(summed, (values,), (scale,), (state,), chunk)
    weights = torch.randn_like(expected[0]), torch.randn_like(expected[1])
    results = []
    for one in (expected, found):
        total = sum((value * weight).sum() for value, weight in zip(one, weights))
        results.append(torch.autograd.grad(total, (values, scale, state)))
    for one, other in zip((*expected, *results[0]), (*found, *results[1])):
        torch.testing.assert_close(one, other)


def test_numerical_gradients_agree():
    values, scale, state = drawn(7)

    def call(*given):
        return chunked(summed, given[:1], given[1:2], given[2:], 3)

    assert torch.autograd.gradcheck(call, (values, scale, state))


def test_a_state_that_nobody_uses_needs_no_gradient():
    values, scale, state = drawn()
    chunked(summed, (values,), (scale,), (state,), 5)[0][:, :, :5].sum().backward()
    assert not values.grad[:, :, 5:].any()
    assert values.grad[:, :, :5].all()


def test_without_gradients_nothing_is_kept():
    values, scale, state = drawn()
    with torch.no_grad():
        found = chunked(summed, (values,), (scale,), (state,), 5)
    torch.testing.assert_close(found[0], summed(values, scale, state)[0])
    assert not found[0].requires_grad
