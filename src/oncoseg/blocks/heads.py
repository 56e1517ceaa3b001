"""Heads of attention, which share its width."""

from __future__ import annotations

from torch import Tensor

from oncoseg.errors import BadOption


def check_heads(heads: int, width: int) -> None:
    """Raise `BadOption` unless so many heads divide the width."""
    if heads < 1 or width % heads:
        raise BadOption(f"{heads} heads do not divide a width of {width}")


def parted(tokens: Tensor, heads: int) -> Tensor:
    """What each head sees of each place: (B, N, width) -> (B, heads, N, width / heads).

    Queries, keys and values are parted one by one. In one tensor, OpenVINO 2026.4 takes the
    exchange of heads and places for none where there are as many, and answers wrongly, without a
    word.
    """
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(values: Tensor) -> Tensor:
    """What each head found for each place: (B, heads, N, width / heads) -> (B, N, width)."""
    return values.transpose(1, 2).flatten(2)
