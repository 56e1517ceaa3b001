"""Recurrences over long sequences: chunk by chunk, each computed again for its gradient.

Nothing that is kept lies between what is let go: with a checkpoint a chunk, small outputs that stay
among large arrays that go held ten times the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

AXIS = 2  # along which sequences run
# Parts of the sequences, what is the same for all, and the state before -> output, state after.
Piece = Callable[..., tuple[Tensor, ...]]


def chunked(
    piece: Piece,
    sequences: Sequence[Tensor],
    fixed: Sequence[Tensor],
    state: Sequence[Tensor],
    chunk: int,
) -> tuple[Tensor, ...]:
    """The output of `piece` over sequences (B, C, L, ...), joined, and the state after the last.

    With several chunks and gradients, what a chunk computes inside is not kept: memory grows with
    the sequences, the output and a state a chunk.
    """
    if torch.is_grad_enabled() and sequences[0].shape[AXIS] > chunk:
        counts = len(sequences), len(fixed)
        found: tuple[Tensor, ...] = _Chunked.apply(piece, counts, chunk, *sequences, *fixed, *state)
        return found
    parts = []
    for given in zip(*(each.split(chunk, AXIS) for each in sequences)):
        out, *state = piece(*given, *fixed, *state)
        parts.append(out)
    return torch.cat(parts, AXIS), *state


class _Chunked(torch.autograd.Function):
    """Gradients chunk by chunk, from the last; what they need inside a chunk is computed anew."""

    @staticmethod
    def forward(
        context: Any, piece: Piece, counts: tuple[int, int], chunk: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        sequences, fixed, state = _parted(tensors, counts)
        length = sequences[0].shape[AXIS]
        starts = range(0, length, chunk)
        before = [one.new_empty(len(starts), *one.shape) for one in state]
        whole = torch.empty(())
        for place, start in enumerate(starts):
            for kept, one in zip(before, state):
                kept[place] = one
            given = [each[:, :, start : start + chunk] for each in sequences]
            out, *state = piece(*given, *fixed, *state)
            if not place:
                whole = out.new_empty(*out.shape[:AXIS], length, *out.shape[AXIS + 1 :])
            whole[:, :, start : start + chunk] = out
        context.save_for_backward(*sequences, *fixed, *before)
        context.piece, context.counts, context.chunk = piece, counts, chunk
        return whole, *state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Any, ...]:
        sequences, fixed, before = _parted(context.saved_tensors, context.counts)
        chunk, (down, *later) = context.chunk, gradients
        of_sequences = [torch.zeros_like(one) for one in sequences]
        of_fixed = [torch.zeros_like(one) for one in fixed]
        for place in reversed(range(len(before[0]))):
            here = slice(place * chunk, (place + 1) * chunk)
            parts = [one[:, :, here] for one in sequences]
            given = [one.detach().requires_grad_() for one in (*parts, *fixed)]
            state = [one[place].detach().requires_grad_() for one in before]
            with torch.enable_grad():
                found = context.piece(*given, *state)
            told = torch.autograd.grad(found, [*given, *state], (down[:, :, here], *later))
            inner, constant, later = _parted(told, context.counts)
            for total, part in zip(of_sequences, inner):
                total[:, :, here] = part
            for total, part in zip(of_fixed, constant):
                total.add_(part)
        return None, None, None, *of_sequences, *of_fixed, *later


def _parted(
    tensors: Sequence[Tensor], counts: tuple[int, int]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Sequences, what is fixed, states."""
    first, second = counts[0], sum(counts)
    return list(tensors[:first]), list(tensors[first:second]), list(tensors[second:])
