"""Exponential moving average of a network's weights, which may also be a teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def slow_start(count: int) -> float:
    """(1 + n) / (10 + n): early averages forget the start."""
    return (1 + count) / (10 + count)


def running_mean(count: int) -> float:
    """1 - 1 / (n + 1): the plain mean of the weights so far, the first of which is copied."""
    return count / (count + 1)


class Ema(nn.Module):
    """A copy of `network` that follows it: average = decay * average + (1 - decay) * weights.

    After n updates the decay is min(`decay`, `limit`(n)). Called as a network, it answers without
    gradient; `steady` keeps it in evaluation mode (no dropout, fixed statistics).
    """

    updates: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        decay: float,
        *,
        limit: Callable[[int], float] = slow_start,
        steady: bool = False,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.decay, self.limit, self.steady = decay, limit, steady
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the average answers."""
        return self.network(*inputs)

    def train(self, mode: bool = True) -> Ema:
        """Training mode, unless it is to be steady."""
        return super().train(mode and not self.steady)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow `network` by one step, buffers too; those that count are copied."""
        decay = min(self.decay, self.limit(int(self.updates)))
        mine, theirs = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [mine[name] for name in floats], [theirs[name] for name in floats], 1 - decay
        )
        for name in mine.keys() - floats:
            mine[name].copy_(theirs[name])
        self.updates += 1
