"""Heads of attention, which share its width."""

from __future__ import annotations

from oncoseg.errors import BadOption


def check_heads(heads: int, width: int) -> None:
    """Raise `BadOption` unless so many heads divide the width."""
    if heads < 1 or width % heads:
        raise BadOption(f"{heads} heads do not divide a width of {width}")
