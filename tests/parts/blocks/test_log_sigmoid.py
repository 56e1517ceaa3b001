"""The logarithm of a sigmoid."""

import torch
from torch.nn import functional as F

from oncoseg.blocks.log_sigmoid import log_sigmoid


def test_it_is_that_of_torch_and_so_is_its_gradient():
    values = torch.linspace(-300, 300, 1201, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(log_sigmoid(values), F.logsigmoid(values), atol=1e-8, rtol=1e-8)
    ours, theirs = (
        torch.autograd.grad(kind(values).sum(), values)[0] for kind in (log_sigmoid, F.logsigmoid)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8)
