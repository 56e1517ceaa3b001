"""The mLSTM: a memory that is a matrix, step by step, all at once, and by chunks.

C_t = f_t C_(t-1) + i_t v_t k_t^T, n_t = f_t n_(t-1) + i_t k_t and
h_t = C_t q_t / max(|n_t q_t|, 1), with i = exp(input gate), f = sigmoid(forget gate) and keys
scaled by 1 / sqrt(D) (Beck 2024, arXiv 2405.04517, section 2.3). All are stabilised by the largest
exponent m. Shapes: query, key and value (B, H, L, D), gates before their activation (B, H, L).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.chunks import chunked
from oncoseg.blocks.log_sigmoid import log_sigmoid
from oncoseg.blocks.norm import LayerNorm

CHUNK = 128
State = tuple[Tensor, Tensor, Tensor]  # C (B, H, D, D), n (B, H, D), m (B, H)


def recurrent(query: Tensor, key: Tensor, value: Tensor, enter: Tensor, forget: Tensor) -> Tensor:
    """The definition, one step after another: what the other two are held against."""
    memory, norm, most = start(query)
    key = key / math.sqrt(query.shape[-1])
    kept, found = log_sigmoid(forget), []
    for place in range(query.shape[2]):
        now, into = kept[..., place] + most, enter[..., place]
        larger = torch.maximum(now, into)
        old, new = torch.exp(now - larger), torch.exp(into - larger)
        outer = value[:, :, place, :, None] * key[:, :, place, None, :]
        memory = old[..., None, None] * memory + new[..., None, None] * outer
        norm = old[..., None] * norm + new[..., None] * key[:, :, place]
        most, asked = larger, query[:, :, place]
        top = (memory @ asked[..., None])[..., 0]
        below = torch.maximum((norm * asked).sum(-1).abs(), torch.exp(-most))
        found.append(top / below[..., None])
    return torch.stack(found, dim=2)


def start(query: Tensor) -> State:
    """Nothing remembered yet."""
    batch, heads, _, size = query.shape
    memory = query.new_zeros(batch, heads, size, size)
    return memory, memory[..., 0], query.new_zeros(batch, heads)


def chunkwise(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    enter: Tensor,
    forget: Tensor,
    chunk: int = CHUNK,
) -> Tensor:
    """The same, all at once inside chunks of the sequence: memory grows with L and not its square.

    A `chunk` as long as the sequence is the form of the paper that is parallel throughout. Where
    there are several, each is computed again when gradients flow back.
    """
    sequences = query, key, value, enter, forget
    return chunked(_piece, sequences, (), start(query), chunk)[0]


def _piece(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    enter: Tensor,
    forget: Tensor,
    memory: Tensor,
    norm: Tensor,
    most: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One chunk from the state before it: its output, and the state after it."""
    key = key / math.sqrt(query.shape[-1])
    since = log_sigmoid(forget).cumsum(-1)
    length = since.shape[-1]
    exponent = since[..., :, None] - since[..., None, :] + enter[..., None, :]
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    exponent = exponent.masked_fill(later, -math.inf)
    carried = since + most[..., None]
    largest = torch.maximum(carried, exponent.amax(-1))
    inside = (query @ key.transpose(-1, -2)) * torch.exp(exponent - largest[..., None])
    share = torch.exp(carried - largest)
    top = inside @ value + share[..., None] * (query @ memory.transpose(-1, -2))
    below = inside.sum(-1) + share * (query @ norm[..., None])[..., 0]
    out = top / torch.maximum(below.abs(), torch.exp(-largest))[..., None]
    left = since[..., -1:] - since + enter
    end = torch.maximum(carried[..., -1], left.amax(-1))
    old, new = torch.exp(carried[..., -1] - end), torch.exp(left - end[..., None])
    weighted = new[..., None] * key
    memory = old[..., None, None] * memory + value.transpose(-1, -2) @ weighted
    return out, memory, old[..., None] * norm + weighted.sum(2), end


class BlockDiagonal(nn.Module):
    """A linear map that mixes `size` neighbouring channels each; (B, L, width) -> the same."""

    def __init__(self, width: int, size: int = 4) -> None:
        super().__init__()
        self.size = size if width % size == 0 else 2
        blocks = width // self.size
        self.weight = nn.Parameter(torch.empty(blocks, self.size, self.size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (5 * self.size)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        parts = tokens.unflatten(-1, (-1, self.size))
        return torch.einsum("blgi,goi->blgo", parts, self.weight).flatten(-2)


class Vil(nn.Module):
    """A Vision-LSTM block on tokens (B, L, width), in one direction and in float32 at least.

    x + down(silu(z) (h + skip c)), with x, z from one linear map to twice the width each, c the
    SiLU of a causal depth-wise convolution over 4 tokens, queries and keys of c, values of x
    (Alkin 2024, arXiv 2406.04303).
    """

    def __init__(self, width: int, *, heads: int = 4, chunk: int = CHUNK) -> None:
        super().__init__()
        inner = 2 * width
        self.heads, self.chunk = heads, chunk
        self.norm = LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.convolve = nn.Conv1d(inner, inner, 4, groups=inner, padding=3)
        self.query, self.key, self.value = (BlockDiagonal(inner) for _ in range(3))
        self.enter, self.forget = nn.Linear(3 * inner, heads), nn.Linear(3 * inner, heads)
        self.scale = nn.Parameter(torch.ones(inner))
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = nn.Linear(inner, width, bias=False)
        with torch.no_grad():
            for gate in (self.enter, self.forget):
                gate.weight.zero_()
            self.enter.bias.normal_(std=0.1)
            self.forget.bias.copy_(torch.linspace(3, 6, heads))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width); a token is told of those before it alone."""
        with torch.autocast(tokens.device.type, enabled=False):
            exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
            x, gate = self.up(self.norm(exact)).chunk(2, dim=-1)
            c = F.silu(self.convolve(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
            parts = self.query(c), self.key(c), self.value(x)
            joined = torch.cat(parts, dim=-1)
            enter, forget = (layer(joined).transpose(1, 2) for layer in (self.enter, self.forget))
            query, key, value = (
                part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts
            )
            found = chunkwise(query, key, value, enter, forget, self.chunk).transpose(1, 2)
            level = F.layer_norm(found, found.shape[-1:]).flatten(-2) * self.scale
            mixed: Tensor = self.down((level + self.skip * c) * F.silu(gate))
        return tokens + mixed
