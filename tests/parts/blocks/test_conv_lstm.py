"""Convolutional LSTM: with its gates open a running sum, and told of one direction alone."""

import pytest
import torch

from oncoseg.blocks.conv_lstm import BothWays, ConvLstm


@pytest.mark.parametrize("dims", [2, 3])
def test_with_open_gates_it_sums(dims):
    lstm = ConvLstm(dims, 1, 1)
    with torch.no_grad():
        lstm.gates.weight.zero_()
        lstm.gates.bias.copy_(torch.tensor([50.0, 50.0, 50.0, 0.0]))
        lstm.gates.weight[(3, 0, *[1] * dims)] = 1  # g = x
    sequence = torch.randn(2, 5, 1, *[4] * dims)
    torch.testing.assert_close(lstm(sequence), sequence.tanh().cumsum(1).tanh())


def test_a_step_is_told_of_those_before_it_alone():
    torch.manual_seed(0)
    sequence, changed = torch.randn(1, 6, 3, 5, 5), None
    changed = sequence.clone()
    changed[:, 3] += 1
    onward, backward = ConvLstm(2, 3, 4), ConvLstm(2, 3, 4, backwards=True)
    for lstm, same in ((onward, slice(0, 3)), (backward, slice(4, 6))):
        before, after = lstm(sequence), lstm(changed)
        assert torch.equal(before[:, same], after[:, same])
        moved = (before != after).flatten(2).any(2)[0]
        assert int(moved.sum()) == 6 - len(range(*same.indices(6)))
    both = BothWays(2, 3)
    assert (both(sequence) != both(changed)).flatten(2).any(2).all()
