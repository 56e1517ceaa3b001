"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema(nn.Module):
    """A copy of `network` that follows it: average = decay * average + (1 - decay) * weights.

    The decay is warmed up as min(decay, (1 + n) / (10 + n)) after n updates, so that early averages
    forget the start.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow `network` by one step; buffers are copied."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        mine, theirs = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [mine[name] for name in floats], [theirs[name] for name in floats], 1 - decay
        )
        for name in mine.keys() - floats:
            mine[name].copy_(theirs[name])
        self.updates += 1
