"""Heads of attention, which share its width."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from oncoseg.errors import BadOption


def check_heads(heads: int, width: int) -> None:
    """Raise `BadOption` unless so many heads divide the width."""
    if heads < 1 or width % heads:
        raise BadOption(f"{heads} heads do not divide a width of {width}")


def joined(values: Tensor) -> Tensor:
    """What each head found for each place (B, heads, N, width) -> (B, N, heads * width).

    OpenVINO 2026.4 answers wrongly, without a word, where there are as many heads as places: it
    takes their exchange for none. A row more, cut off again, keeps their numbers apart. (Where
    tokens attend to an image, as in `sam_decoder`, it is that row which it answers wrongly to.)
    """
    places = values.shape[2]
    if places == values.shape[1]:
        return F.pad(values, (0, 0, 0, 1)).transpose(1, 2)[:, :places].flatten(2)
    return values.transpose(1, 2).flatten(2)
