"""The mLSTM: three forms of one cell, and the block around it."""

import pytest
import torch

from oncoseg.blocks.mlstm import BlockDiagonal, Vil, chunkwise, recurrent


def drawn(length, size=6, scale=1.0):
    torch.manual_seed(length)
    shape = (2, 3, length)
    three = [torch.randn(*shape, size, dtype=torch.float64) for _ in range(3)]
    gates = [scale * torch.randn(*shape, dtype=torch.float64) for _ in range(2)]
    return [value.requires_grad_() for value in (*three, *gates)]


@pytest.mark.parametrize(("length", "chunk"), [(41, 41), (41, 8), (41, 64), (1, 4)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_all_forms_agree_with_their_gradients(length, chunk, scale):
    values = drawn(length, scale=scale)
    expected, found = recurrent(*values), chunkwise(*values, chunk)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    weight = torch.linspace(-1, 1, length, dtype=torch.float64)[:, None]
    wanted = torch.autograd.grad((expected * weight).sum(), values)
    got = torch.autograd.grad((found * weight).sum(), values)
    for one, other in zip(got, wanted):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_what_is_forgotten_is_not_told():
    query, key, value, enter, forget = (each.detach() for each in drawn(9))
    forget[..., 5] = -1e4  # nothing of the tokens before is left
    before = chunkwise(query, key, value, enter, forget)
    value[:, :, :5] += 1
    after = chunkwise(query, key, value, enter, forget)
    torch.testing.assert_close(after[:, :, 5:], before[:, :, 5:])
    assert not torch.allclose(after[:, :, :5], before[:, :, :5])


def test_a_block_tells_each_token_of_those_before_it():
    torch.manual_seed(0)
    block, tokens = Vil(8, chunk=4), torch.randn(1, 13, 8, requires_grad=True)
    block(tokens)[0, 6].sum().backward()
    heard = tokens.grad[0].abs().sum(-1) > 0
    assert heard.tolist() == [place <= 6 for place in range(13)]


def test_neighbouring_channels_are_mixed_alone():
    torch.manual_seed(0)
    layer, tokens = BlockDiagonal(8), torch.randn(1, 3, 8)
    changed = tokens.clone()
    changed[..., 0] += 1
    moved = (layer(changed) != layer(tokens)).any(dim=(0, 1))
    assert moved.tolist() == [True] * 4 + [False] * 4
    assert BlockDiagonal(6).size == 2
