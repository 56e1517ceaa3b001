"""Reversible couplings: activations are computed anew from outputs, not kept (Gomez 2017)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Reversible(nn.Module):
    """Couplings (F, G) one after another: y1 = x1 + F(x2), y2 = x2 + G(y1), by halves of channels.

    (B, C, *S) -> the same, C even. For the gradient only the last output is kept, however many
    couplings there are. So F and G must give the same each time: no dropout and no running
    statistics. They run under the autocast of the forward pass; sums keep the dtype of the input.
    """

    def __init__(self, couplings: Iterable[tuple[nn.Module, nn.Module]]) -> None:
        super().__init__()
        pairs = list(couplings)
        self.ones = nn.ModuleList(one for one, _ in pairs)  # F
        self.others = nn.ModuleList(other for _, other in pairs)  # G

    def couplings(self) -> list[tuple[nn.Module, nn.Module]]:
        """(F, G) of each, in order."""
        return list(zip(self.ones, self.others))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S)."""
        if not torch.is_grad_enabled():
            return self.plain(features)
        found: Tensor = _Coupled.apply(features, self, *_learned(self))
        return found

    def plain(self, features: Tensor) -> Tensor:
        """The same, with every activation kept if a gradient is asked for."""
        first, second = features.chunk(2, dim=1)
        for one, other in self.couplings():
            first = first + one(second).to(first.dtype)
            second = second + other(first).to(second.dtype)
        return torch.cat([first, second], dim=1)

    def inverse(self, found: Tensor) -> Tensor:
        """What `forward` was given: x2 = y2 - G(y1), x1 = y1 - F(x2)."""
        first, second = found.chunk(2, dim=1)
        for one, other in reversed(self.couplings()):
            second = second - other(first).to(second.dtype)
            first = first - one(second).to(first.dtype)
        return torch.cat([first, second], dim=1)


class _Coupled(torch.autograd.Function):
    """All couplings with their own gradient; parameters are inputs so that theirs flow out."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, chain: Reversible, *learned: Tensor) -> Tensor:
        kind = features.device.type
        ctx.chain, ctx.learned = chain, learned
        ctx.autocast = {
            "device_type": kind,
            "dtype": torch.get_autocast_dtype(kind),
            "enabled": torch.is_autocast_enabled(kind),
        }
        found = chain.plain(features)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (found,) = ctx.saved_tensors
        (first, second), (above, beside) = found.chunk(2, dim=1), gradient.chunk(2, dim=1)
        sums: dict[int, Tensor] = {}
        with torch.autocast(**ctx.autocast):
            for one, other in reversed(ctx.chain.couplings()):
                first, second, above = _undone(other, first, second, above, beside, sums)
                second, first, beside = _undone(one, second, first, beside, above, sums)
        below = torch.cat([above, beside], dim=1)
        return below, None, *(sums.get(id(value)) for value in ctx.learned)


def _undone(
    module: nn.Module,
    given: Tensor,
    found: Tensor,
    at_given: Tensor,
    at_found: Tensor,
    sums: dict[int, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Undo found = before + module(given), and pass the gradient on.

    -> (given, before, the whole gradient at given); those of parameters are added to `sums`.
    """
    learned = _learned(module)
    with torch.enable_grad():
        given = given.detach().requires_grad_()
        moved = module(given).to(found.dtype)
    through, *gradients = torch.autograd.grad(moved, [given, *learned], at_found)
    for value, gradient in zip(learned, gradients):
        sums[id(value)] = sums[id(value)] + gradient if id(value) in sums else gradient
    return given.detach(), found - moved.detach(), at_given + through


def _learned(module: nn.Module) -> list[nn.Parameter]:
    return [value for value in module.parameters() if value.requires_grad]
