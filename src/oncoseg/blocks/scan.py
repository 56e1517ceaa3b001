"""State-space blocks: the selective scan, step by step and in parallel, and the Mamba block.

For each channel d with N states: h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t, and
y_t = C_t h_t + skip u_t (Gu and Dao 2023, arXiv 2312.00752, section 3). Shapes: u and delta
(B, D, L); A (D, N), negative; B and C (B, N, L); skip (D,); y (B, D, L).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.chunks import chunked
from oncoseg.blocks.lanes import scanned

CHUNK = 2048
# Why a network that scans whole images is not exported.
ALONE = "its scans run over all voxels, too long to be unrolled into a graph"


def sequential(
    u: Tensor, delta: Tensor, rate: Tensor, into: Tensor, out: Tensor, skip: Tensor
) -> Tensor:
    """The definition, one step after another: the reference that `selective_scan` is held against.

    `rate` is A, `into` B and `out` C.
    """
    state = u.new_zeros(*u.shape[:2], rate.shape[1])
    steps = []
    for place in range(u.shape[-1]):
        now = delta[..., place, None]
        flow = now * u[..., place, None] * into[:, None, :, place]
        state = torch.exp(now * rate) * state + flow
        steps.append((state * out[:, None, :, place]).sum(-1))
    return torch.stack(steps, dim=-1) + skip[:, None] * u


def selective_scan(
    u: Tensor,
    delta: Tensor,
    rate: Tensor,
    into: Tensor,
    out: Tensor,
    skip: Tensor,
    chunk: int = CHUNK,
) -> Tensor:
    """The same as `sequential`, in lanes inside chunks of the sequence.

    States exist for one chunk at a time: where there are several, each is computed again when
    gradients flow back, so memory grows with L D and not with L D N.
    """
    state = u.new_zeros(*u.shape[:2], rate.shape[1])
    return resumed(u, delta, rate, into, out, skip, state, chunk)[0]


def resumed(
    u: Tensor,
    delta: Tensor,
    rate: Tensor,
    into: Tensor,
    out: Tensor,
    skip: Tensor,
    state: Tensor,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """`selective_scan` from a state (B, D, N) on: y, and the state after the last step."""
    y, state = chunked(scanned, (u, delta, into, out), (rate,), (state,), chunk)
    return y + skip[:, None] * u, state


class Mamba(nn.Module):
    """The Mamba block on tokens (B, L, width) -> (B, L, width), in float32 at least.

    Two branches, `expand` times as wide: a causal depth-wise convolution over `kernel` tokens, SiLU
    and the selective scan with `states` states a channel; and a gate, SiLU. Steps delta start
    between 0.001 and 0.1, decay rates at -1 .. -states, as published.
    """

    def __init__(
        self, width: int, *, states: int = 16, kernel: int = 4, expand: int = 2, chunk: int = CHUNK
    ) -> None:
        super().__init__()
        inner, self.rank, self.states = expand * width, math.ceil(width / 16), states
        self.chunk = chunk
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.convolve = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.select = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.step = nn.Linear(self.rank, inner)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)
        nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            spread = math.log(0.1) - math.log(0.001)
            steps = torch.exp(torch.rand(inner) * spread + math.log(0.001)).clamp(min=1e-4)
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus gives `steps`

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width); a token is told of those before it alone."""
        with torch.autocast(tokens.device.type, enabled=False):
            exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
            features, gate = self.enter(exact).transpose(1, 2).chunk(2, dim=1)
            features = F.silu(self.convolve(features)[..., : tokens.shape[1]])
            sizes = [self.rank, self.states, self.states]
            step, into, out = self.select(features.transpose(1, 2)).split(sizes, dim=-1)
            delta = F.softplus(self.step(step)).transpose(1, 2)
            rate = -torch.exp(self.log_rate)
            into, out = into.transpose(1, 2), out.transpose(1, 2)
            y = selective_scan(features, delta, rate, into, out, self.skip, self.chunk)
            mixed: Tensor = self.leave((y * F.silu(gate)).transpose(1, 2))
        return mixed
