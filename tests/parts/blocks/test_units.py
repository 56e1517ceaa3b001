"""Norms by name, of batches of any size."""

import pytest
import torch
from torch import nn

from oncoseg.blocks.units import norm_of

PLAIN = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_norm_is_torchs_and_one_value_takes_what_ran(dims):
    ours, theirs = norm_of(dims, 3, "batch"), PLAIN[dims](3)
    assert isinstance(ours, PLAIN[dims])
    for seed in range(3):
        torch.manual_seed(seed)
        many = 4 + 2 * torch.randn(2, 3, *(5,) * dims)
        assert torch.equal(ours(many), theirs(many))
    one = torch.randn(1, 3, *(1,) * dims)
    with pytest.raises(ValueError, match="more than 1 value"):
        theirs(one)
    before = ours.running_mean.clone()
    found = ours(one)
    assert torch.equal(ours.running_mean, before)
    assert torch.equal(found, theirs.eval()(one))
    assert found.abs().max() > 0
